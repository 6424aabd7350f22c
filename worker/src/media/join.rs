//! One MP4 from the pieces of a film, without encoding: the picture and the sounds from the pieces, title and
//! subtitles from the upload.

use std::path::Path;

use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::clock::ticks;
use super::decision::is_interlaced;
use super::error::MediaError;
use super::input::Input;
use super::mux::{Label, Muxer, Sink};
use super::open;
use super::piece::CLOCK_OFFSET;
use super::pipeline;
use super::probe::{Probe, Stream};
use super::progress::{Meter, Progress};
use super::shape;
use super::source::Source;
use super::subtitle::SubtitleTrack;

/// The pieces to join: files in one folder, each with its initialization segment in front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinTask {
    /// The picture, then the sounds.
    pub tracks: Vec<JoinTrack>,
}

/// A file of pieces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinTrack {
    /// Name of the file.
    pub file: String,
    /// ISO 639, if the upload names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Title in the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// The result of a join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Length in seconds.
    pub duration_seconds: f64,
    /// Pictures in it.
    pub pictures: u64,
    /// Damage of the upload, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The times of the upload jump, so that the length that it names means nothing.
    #[serde(default)]
    pub has_jumped: bool,
}

/// A file of pieces that is being read.
struct Track {
    source: ff::format::context::Input,
    time_base: ff::Rational,
    /// Ticks by which the clock of the pieces is ahead.
    offset: i64,
    next: Option<ff::Packet>,
}

/// Joins the pieces in `folder` into `output`.
pub(super) fn join(
    upload: &Input,
    folder: &Path,
    output: &Path,
    task: &JoinTask,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Joined, MediaError> {
    let mut muxer = Muxer::create(output)?;
    let (mut original, probe) = Source::open(upload)?;
    muxer.describe(original.input(), &probe.chapters)?;
    let mut tracks = Vec::new();
    for track in &task.tracks {
        let label = Label { language: track.language.as_deref(), title: track.label.as_deref() };
        tracks.push(Track::open(&folder.join(&track.file), label, &mut muxer)?);
    }
    let subtitles = subtitle_tracks(&original, &probe.subtitles, probe.start, &mut muxer)?;
    muxer.start()?;
    let length = probe.duration.unwrap_or(f64::INFINITY);
    let mut meter = Meter::new("join".into(), report);
    let in_upload = read_upload(&mut original, &probe, subtitles, &mut muxer, &mut meter)?;
    // The packet that is due first, of whichever track, so that the muxer holds none back.
    while let Some(index) = earliest(&tracks) {
        let time_base = tracks[index].time_base;
        if let Some(packet) = tracks[index].take()? {
            muxer.write(index, packet, time_base)?;
        }
        meter.tick(muxer.pictures(), || muxer.written_seconds() / length);
    }
    let joined = Joined {
        duration_seconds: (muxer.written_seconds() * 1000.0).round() / 1000.0,
        pictures: muxer.pictures(),
        warnings: original.warnings().into_iter().chain(lost(&probe, in_upload, muxer.pictures())).collect(),
        has_jumped: original.has_jumped(),
    };
    pipeline::finish(muxer, report)?;
    Ok(joined)
}

fn earliest(tracks: &[Track]) -> Option<usize> {
    let due = |track: &Track| {
        let packet = track.next.as_ref()?;
        Some(packet.dts().unwrap_or(0) as f64 * f64::from(track.time_base))
    };
    let waiting = tracks.iter().enumerate().filter_map(|(index, track)| Some((index, due(track)?)));
    waiting.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
}

impl Track {
    fn open(path: &Path, label: Label<'_>, muxer: &mut Muxer) -> Result<Self, MediaError> {
        let source = open_pieces(path)?;
        let stream =
            source.stream(0).ok_or_else(|| MediaError::transient("a file of pieces holds no track"))?;
        let time_base = stream.time_base();
        muxer.add_copy(stream.parameters(), time_base, label, None)?;
        let offset = ticks(CLOCK_OFFSET, time_base);
        let mut track = Self { source, time_base, offset, next: None };
        track.next = track.read()?;
        Ok(track)
    }

    fn take(&mut self) -> Result<Option<ff::Packet>, MediaError> {
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn read(&mut self) -> Result<Option<ff::Packet>, MediaError> {
        let mut packet = ff::Packet::empty();
        match packet.read(&mut self.source) {
            Ok(()) => {
                packet.set_pts(packet.pts().map(|pts| pts - self.offset));
                packet.set_dts(packet.dts().map(|dts| dts - self.offset));
                Ok(Some(packet))
            }
            Err(ff::Error::Eof) => Ok(None),
            Err(error) => Err(MediaError::output("read the pieces", error)),
        }
    }
}

fn open_pieces(path: &Path) -> Result<ff::format::context::Input, MediaError> {
    open::open(&Input::File(path.to_owned()))
        .map_err(|error| MediaError::transient(format!("cannot open the pieces: {}", error.message)))
}

/// Tracks for the text subtitles of the upload; one that cannot be converted is left out.
fn subtitle_tracks(
    original: &Source,
    streams: &[Stream],
    start: f64,
    muxer: &mut Muxer,
) -> Result<Vec<(usize, SubtitleTrack)>, MediaError> {
    let mut tracks = Vec::new();
    for stream in streams {
        let input = original.stream(stream.index)?;
        if let Ok(track) = SubtitleTrack::new(&input, stream, start, muxer) {
            tracks.push((stream.index, track));
        }
    }
    Ok(tracks)
}

/// Reads the upload once more for its subtitles, which are little, and for its damage, of which the chunks do not tell.
/// Answers the number of its pictures.
fn read_upload(
    original: &mut Source,
    probe: &Probe,
    mut tracks: Vec<(usize, SubtitleTrack)>,
    muxer: &mut Muxer,
    meter: &mut Meter<'_>,
) -> Result<u64, MediaError> {
    let picture = probe.video.as_ref().map(|stream| stream.index);
    let mut pictures = 0;
    while let Some(packet) = original.next()? {
        pictures += u64::from(Some(packet.stream()) == picture);
        if let Some((_, track)) = tracks.iter_mut().find(|(index, _)| *index == packet.stream()) {
            track.packet(&packet, muxer)?;
        }
        meter.tick(0, || 0.0);
    }
    Ok(pictures)
}

/// A sentence about pictures that could not be decoded. Where the rate is reduced, or packets hold half pictures, their
/// number says nothing.
fn lost(probe: &Probe, in_upload: u64, made: u64) -> Option<String> {
    let stream = probe.video.as_ref()?;
    let is_comparable =
        shape::output_rate(stream) == stream.frame_rate && !is_interlaced(stream.parameters.field_order);
    let missing = in_upload.checked_sub(made)?;
    (is_comparable && missing > 2 + in_upload / 50)
        .then(|| format!("the file is damaged: {missing} of {in_upload} pictures could not be decoded"))
}
