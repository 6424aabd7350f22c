//! Decides what is made from a file, and in which parts.

mod trial;

use nebula_media_kind::{Extent, extent};
use serde::{Deserialize, Serialize};

use super::chapter::Chapter;
use super::decision::{self, Decision};
use super::error::MediaError;
use super::hardware::Method;
use super::input::Input;
use super::ladder::{Size, Span};
use super::original::Original;
use super::probe::{Probe, Stream};
use super::progress::{Meter, Progress};
use super::shape;
use super::sound::Sound;
use super::source::Source;
use super::summary::Summary;
use super::webvtt::Subtitle;

/// Seconds of the first chunks, which whoever watches at once waits for, and of all others: a crash repeats at
/// most one. All are multiples of a segment.
const FIRST_CHUNKS: [f64; 4] = [4.0, 8.0, 16.0, 32.0];
const CHUNK: f64 = 48.0;
/// Heights that are made beside that of the upload, with the most bits a second of each.
const HEIGHTS: [(u32, u32); 3] = [(480, 1_500_000), (720, 3_000_000), (1080, 6_000_000)];
/// Most bits a second of larger pictures.
const LARGE: [(u32, u32); 2] = [(1440, 10_000_000), (u32::MAX, 18_000_000)];
/// Sounds of a film that are made; those of a recording of a whole transponder are many.
const MAX_SOUNDS: usize = 16;

/// Where the MP4 for browsers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebFrom {
    /// Converted by the job that plans, since its picture is copied.
    Made,
    /// Joined from the pieces of the largest size.
    Join,
}

/// The plan of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaPlan {
    /// Seconds; 0 when the container does not name them.
    pub duration: f64,
    /// Pictures a second of the streams.
    pub frame_rate: f64,
    /// Where the MP4 for browsers comes from.
    pub web: WebFrom,
    /// How the pictures are made.
    #[serde(default)]
    pub method: Method,
    /// Picture sizes, the largest first; empty without a picture.
    pub variants: Vec<Size>,
    /// Parts that are encoded one by one.
    pub chunks: Vec<Span>,
    /// Sounds.
    pub sounds: Vec<Sound>,
    /// Text subtitles.
    pub subtitles: Vec<Subtitle>,
    /// Whether there is anything to make pictures of.
    pub pictures: bool,
    /// Chapters.
    pub chapters: Vec<Chapter>,
    /// Properties of the MP4 for browsers.
    pub summary: Summary,
    /// Container and streams of the upload.
    pub original: Original,
}

/// Plans a file.
pub(super) fn plan(
    input: &Input,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<MediaPlan, MediaError> {
    let size = input.size()?;
    if size == 0 {
        return Err(MediaError::permanent("the file is empty"));
    }
    let (mut source, probe) = Source::open(input)?;
    let decided = decision::decide(&probe);
    let web = match decided.decision {
        Decision::Transcode => WebFrom::Join,
        Decision::Remux | Decision::Audio => WebFrom::Made,
    };
    let duration = probe.duration.unwrap_or(0.0);
    // Beyond the end of a file that is cut off, chunks would be empty.
    let there = if has_index(&probe) && is_cut_off(input)? {
        let mut meter = Meter::new("probe".into(), report);
        (source.find_end(|| meter.tick(0, || 0.0))? - probe.start).clamp(0.0, duration)
    } else {
        duration
    };
    let original = Original::of(&probe);
    let Some(picture) = &probe.video else {
        // Sound alone is played as one file.
        let summary = Summary::of(&probe, decided, duration, Vec::new());
        let web = WebFrom::Made;
        return Ok(MediaPlan {
            duration,
            frame_rate: 0.0,
            web,
            method: Method::default(),
            variants: Vec::new(),
            chunks: Vec::new(),
            sounds: Vec::new(),
            subtitles: subtitles(&probe),
            pictures: probe.cover.is_some(),
            chapters: probe.chapters,
            summary,
            original,
        });
    };
    let variants = sizes(picture);
    Ok(MediaPlan {
        duration,
        frame_rate: f64::from(shape::output_rate(picture)),
        web,
        method: trial::choose(input, picture, &variants)?,
        variants,
        chunks: if has_index(&probe) { chunks(there) } else { chunks(0.0) },
        sounds: sounds(&probe),
        subtitles: subtitles(&probe),
        pictures: true,
        summary: Summary::of(&probe, decided, duration, probe.warnings.clone()),
        chapters: probe.chapters,
        original,
    })
}

/// Whether the header of the container promises more than there is.
fn is_cut_off(input: &Input) -> Result<bool, MediaError> {
    let failed = |error| MediaError::transient(format!("cannot read the file: {error}"));
    let (mut bytes, size) = input.open()?;
    Ok(extent(&mut bytes, size).map_err(failed)? != Extent::Whole)
}

/// Whether the container says where each key frame is and one clock runs through the file, so that it can be cut.
/// Other files are one chunk.
fn has_index(probe: &Probe) -> bool {
    probe.format.starts_with("matroska") || probe.format.starts_with("mov")
}

fn chunks(duration: f64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = 0.0;
    for length in FIRST_CHUNKS.into_iter().chain(std::iter::repeat(CHUNK)) {
        let to = from + length;
        // A short rest is part of the chunk before it.
        let is_last = to + length / 4.0 >= duration;
        spans.push(Span { n: spans.len() as u32, from, to: (!is_last).then_some(to) });
        if is_last {
            break;
        }
        from = to;
    }
    spans
}

/// The upload's own size and those below it; none is larger than the upload.
fn sizes(picture: &Stream) -> Vec<Size> {
    let (width, height) = shape::output_size(picture);
    let aspect = f64::from(shape::aspect_of(picture, (width, height)));
    // Smaller sizes have square pixels.
    let shown = (f64::from(width) * aspect, f64::from(height));
    let short = shown.0.min(shown.1).round() as u32;
    let quick = if f64::from(shape::output_rate(picture)) > 40.0 { 3 } else { 2 };
    let size = |class: u32, width, height| {
        let mut bounds = HEIGHTS.iter().chain(&LARGE);
        let most = bounds.find(|(height, _)| class <= *height).map_or(LARGE[1].1, |(_, most)| *most);
        Size { name: format!("v{class}"), width, height, maxrate: most / 2 * quick }
    };
    let smaller = HEIGHTS.iter().rev().map(|(class, _)| *class).filter(|class| *class < short).map(|class| {
        let scale = f64::from(class) / f64::from(short);
        let even = |length: f64| ((length * scale / 2.0).round() as u32 * 2).max(2);
        size(class, even(shown.0), even(shown.1))
    });
    std::iter::once(size(short.max(2), width, height)).chain(smaller).collect()
}

/// Every sound in stereo, and surround sound as it is beside it.
fn sounds(probe: &Probe) -> Vec<Sound> {
    let sound = |index: usize, stream: &Stream, prefix: char, channels| Sound {
        name: format!("{prefix}{index}"),
        stream: stream.index,
        language: stream.language.clone(),
        label: stream.title.clone(),
        channels,
        default: index == 0 && prefix == 'a',
    };
    let all = probe.audio.iter().take(MAX_SOUNDS).enumerate();
    all.flat_map(|(index, stream)| {
        let stereo = sound(index, stream, 'a', 2);
        let channels = stream.parameters.channels;
        let surround = matches!(channels, 6 | 8).then(|| sound(index, stream, 's', channels));
        std::iter::once(stereo).chain(surround)
    })
    .collect()
}

fn subtitles(probe: &Probe) -> Vec<Subtitle> {
    let numbered = probe.subtitles.iter().enumerate();
    let subtitle = |(number, stream): (usize, &Stream)| Subtitle {
        name: format!("subtitle-{number}"),
        stream: stream.index,
        language: stream.language.clone(),
        label: stream.title.clone(),
        forced: stream.is_forced,
    };
    numbered.map(subtitle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_segments_and_leave_no_short_rest() {
        for seconds in [0.0, 1.0, 5.0, 13.0, 61.0, 600.0, 7200.5] {
            let spans = chunks(seconds);
            assert_eq!(spans.last().unwrap().to, None);
            assert!(spans.iter().enumerate().all(|(n, span)| span.n as usize == n && span.from % 4.0 == 0.0));
            assert!(spans.windows(2).all(|pair| pair[0].to == Some(pair[1].from)), "{spans:?}");
            assert!(seconds < 1.0 || spans.last().unwrap().from < seconds, "{spans:?}");
        }
        assert_eq!(chunks(0.0).len(), 1);
        assert_eq!(chunks(7200.0).len(), 4 + 149, "the last one has the rest of 36 seconds");
    }
}
