//! Companions of a film: a poster, small pictures to seek by, and its subtitles as text, from one pass over the file.

mod jpeg;
pub(super) mod photo;
mod poster;
mod sprites;
mod still;
mod stills;

use std::path::Path;

use serde::{Deserialize, Serialize};

use self::stills::{Stills, Taken};
use super::error::MediaError;
use super::input::Input;
use super::probe::Probe;
use super::progress::{Meter, Progress};
use super::source::Source;
use super::webvtt::{Subtitle, TextTrack};

pub use self::photo::Photo;
pub use self::sprites::Sprites;

/// The pictures of a file and these subtitles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PicturesTask {
    /// Text subtitles.
    pub subtitles: Vec<Subtitle>,
}

/// The result of the task; the names of the files follow from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pictures {
    /// Width and height of `poster.jpg`.
    pub poster: Option<(u32, u32)>,
    /// `sprites-0.jpg` and so on, with `sprites.vtt`.
    pub sprites: Option<Sprites>,
    /// Name and number of cues of each `subtitle-<n>.vtt`.
    pub subtitles: Vec<(String, usize)>,
    /// Missing parts, as sentences.
    pub warnings: Vec<String>,
}

/// Name of the poster's file.
const POSTER: &str = "poster.jpg";

/// Writes the files into `folder`. A part that cannot be made is told, and does not prevent the others.
pub(super) fn make(
    input: &Input,
    folder: &Path,
    task: &PicturesTask,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Pictures, MediaError> {
    let size = input.size()?.max(1);
    let (mut source, probe) = Source::open(input)?;
    let mut made = Pictures { poster: None, sprites: None, subtitles: Vec::new(), warnings: Vec::new() };
    let mut texts = open_texts(&source, &probe, task, &mut made.warnings);
    let mut stills = made.optional(Stills::open(&source, &probe))?.flatten();
    let mut meter = Meter::new("pictures".into(), report);
    while let Some(packet) = source.next()? {
        if let Some(text) = texts.iter_mut().find(|text| text.stream() == packet.stream()) {
            text.push(packet);
        } else if let Some(pictures) = &mut stills
            && made.optional(pictures.packet(&packet))?.is_none()
        {
            stills = None;
        }
        meter.tick(0, || 0.95 * source.position() as f64 / size as f64);
    }
    let mut taken = match stills {
        Some(stills) => made.optional(stills.finish())?.unwrap_or_default(),
        None => Taken::default(),
    };
    make_poster(input, folder, &probe, &mut taken, &mut made, &mut meter)?;
    let sprites = sprites::write(&taken.tiles, taken.interval, folder);
    made.sprites = made.optional(sprites)?.flatten();
    for text in texts {
        let (name, written) = (text.name().to_owned(), text.write(folder, &mut made.warnings));
        if let Some(cues) = made.optional(written)?.filter(|cues| *cues > 0) {
            made.subtitles.push((name, cues));
        }
    }
    Ok(made)
}

impl Pictures {
    /// The value, or a warning in its place; a lack of room or memory remains an error.
    fn optional<T>(&mut self, outcome: Result<T, MediaError>) -> Result<Option<T>, MediaError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.no_room => Err(error),
            Err(error) => {
                self.warnings.push(error.message);
                Ok(None)
            }
        }
    }
}

fn open_texts(
    source: &Source,
    probe: &Probe,
    task: &PicturesTask,
    warnings: &mut Vec<String>,
) -> Vec<TextTrack> {
    let mut texts = Vec::new();
    for subtitle in &task.subtitles {
        let known = probe.subtitles.iter().any(|stream| stream.index == subtitle.stream);
        let input = source.stream(subtitle.stream).ok().filter(|_| known);
        match input.map(|input| TextTrack::open(&input, &subtitle.name, probe.start)) {
            Some(Ok(text)) => texts.push(text),
            Some(Err(error)) => warnings.push(error.message),
            None => warnings.push(format!("subtitle stream {} vanished", subtitle.stream)),
        }
    }
    texts
}

/// The poster: the best picture that was taken, one of the beginning where key frames are too rare, or the cover.
fn make_poster(
    input: &Input,
    folder: &Path,
    probe: &Probe,
    taken: &mut Taken,
    made: &mut Pictures,
    meter: &mut Meter<'_>,
) -> Result<(), MediaError> {
    let path = folder.join(POSTER);
    let Some(stream) = &probe.video else {
        let cover = probe.cover.as_ref().map(|cover| poster::write_cover(input, cover, &path));
        made.poster = made.optional(cover.transpose())?.flatten().flatten();
        return Ok(());
    };
    let mut best = taken.best.take();
    if best.as_ref().is_none_or(|(score, _)| *score < poster::GOOD) {
        let other = made.optional(stills::look_closely(input, || meter.tick(0, || 0.95)))?.flatten();
        best = other.into_iter().chain(best).max_by(|(one, _), (other, _)| one.total_cmp(other));
    }
    match best {
        Some((_, frame)) => {
            let written = poster::write(&frame, stream, &path);
            made.poster = made.optional(written)?;
        }
        None => made.warnings.push("no picture could be taken from the film".to_owned()),
    }
    Ok(())
}
