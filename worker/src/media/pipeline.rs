//! Converts one input file into one output file: opens a track per stream, then moves packets until the end.
//!
//! Each track owns its decoder, filters and encoder, and shares only the muxer with the others. A track could
//! therefore get a thread of its own without changes to the others.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ffmpeg_next as ff;

use super::audio::{self, Audio};
use super::copy::CopiedTrack;
use super::decision::{self, Plan, Reason};
use super::encode::EncodedTrack;
use super::error::MediaError;
use super::input::Input;
use super::mux::{Label, Muxer};
use super::probe::Probe;
use super::progress::{Meter, Progress};
use super::source::Source;
use super::subtitle::SubtitleTrack;
use super::summary::Summary;
use super::video::{self, Video};

/// Interval of the reports while the file is rewritten at the end, so that the parent does not kill a silent
/// child.
const FINISH_REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// After these 30 minutes the rewrite counts as hung and the reports end.
const MAX_FINISH_REPORTS: usize = 180;

/// The treatment of one input stream.
enum Track {
    Copied(CopiedTrack),
    Video(Box<EncodedTrack<Video>>),
    Audio(Box<EncodedTrack<Audio>>),
    Subtitle(Box<SubtitleTrack>),
}

/// Reads `input`, writes `output`, and calls `report` with the progress.
///
/// # Errors
/// The input has no usable stream, or the output cannot be written.
pub(super) fn convert(
    input: &Input,
    output: &Path,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Summary, MediaError> {
    report(Progress { progress: 0.0, fps: None, stage: "probe".into() });
    let size = input.size()?;
    if size == 0 {
        return Err(MediaError::permanent("the file is empty"));
    }
    let mut furthest = 0.0_f32;
    let mut report = |progress: Progress| {
        furthest = furthest.max(progress.progress);
        report(Progress { progress: furthest, ..progress });
    };
    match pass(input, output, size, decision::decide, &mut report)? {
        Some(summary) => Ok(summary),
        // Noise in a copied picture ends most players; decoders get over it.
        None => {
            let summary = pass(input, output, size, decision::encode_all, &mut report)?;
            summary.ok_or_else(|| MediaError::transient("an encoded track was copied"))
        }
    }
}

/// Converts the file once; `None` when a track that is copied turns out to be broken.
fn pass(
    input: &Input,
    output: &Path,
    size: u64,
    decide: impl FnOnce(&Probe) -> Plan,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<Summary>, MediaError> {
    let (mut source, mut probe) = Source::open(input)?;
    let plan = decide(&probe);
    let mut muxer = Muxer::create(output)?;
    muxer.describe(source.input(), &probe.chapters)?;
    let mut tracks = open_tracks(&source, &mut probe, &plan, &mut muxer)?;
    muxer.start()?;

    let mut meter = Meter::new(plan.decision.to_string(), report);
    while let Some(packet) = source.next()? {
        if let Some(track) = tracks.get_mut(packet.stream()).and_then(Option::as_mut) {
            track.packet(packet, &mut muxer)?;
            if track.is_broken() {
                return Ok(None);
            }
        }
        // Where times jump, only the bytes tell how much there is.
        let by_bytes = || source.position() as f64 / size as f64;
        let duration = probe.duration.filter(|_| !probe.may_jump);
        let fraction = || duration.map_or_else(by_bytes, |duration| muxer.written_seconds() / duration);
        meter.tick(muxer.pictures(), || fraction() * 0.99);
    }
    for track in tracks.iter_mut().flatten() {
        track.finish(&mut muxer)?;
    }
    // The packets beside a hole are damaged too; a transport stream marks those, others do not.
    if plan.copy_video && source.is_damaged() && !probe.may_jump && probe.video.is_some() {
        return Ok(None);
    }
    meter.finishing();
    check_content(&probe, &tracks, &muxer)?;
    let warnings = warnings(&probe, &plan, &tracks, &muxer, &source);
    let written = (muxer.written_seconds() * 1000.0).round() / 1000.0;
    let summary = Summary::of(&probe, plan, written, warnings);
    finish(muxer, report)?;
    Ok(Some(summary))
}

/// Opens a track per stream of the probe; the index of each is that of its input stream.
fn open_tracks(
    source: &Source,
    probe: &mut Probe,
    plan: &Plan,
    muxer: &mut Muxer,
) -> Result<Vec<Option<Track>>, MediaError> {
    let mut tracks: Vec<Option<Track>> = source.input().streams().map(|_| None).collect();
    let input = |index| source.stream(index);
    let start = probe.start;
    if let Some(stream) = &probe.video {
        let track = match plan.copy_video {
            true => Track::Copied(CopiedTrack::new(&input(stream.index)?, stream, start, muxer)?),
            false => Track::Video(Box::new(video::open(&input(stream.index)?, stream, start, muxer)?)),
        };
        tracks[stream.index] = Some(track);
    }
    for (stream, copy) in probe.audio.iter().zip(&plan.copy_audio) {
        let track = match copy {
            true => Track::Copied(CopiedTrack::new(&input(stream.index)?, stream, start, muxer)?),
            false => {
                let add = |encoder: &ff::encoder::audio::Encoder, time_base| {
                    muxer.add_encoder(encoder, time_base, Label::of(stream))
                };
                Track::Audio(Box::new(audio::open(&input(stream.index)?, stream, start, 2, add)?))
            }
        };
        tracks[stream.index] = Some(track);
    }
    let mut unusable = Vec::new();
    for stream in &probe.subtitles {
        match SubtitleTrack::new(&input(stream.index)?, stream, start, muxer) {
            Ok(track) => tracks[stream.index] = Some(Track::Subtitle(Box::new(track))),
            // A subtitle that cannot be converted must not prevent the rest of the output.
            Err(error) => unusable.push((stream.index, error)),
        }
    }
    for (index, error) in unusable {
        probe.subtitles.retain(|stream| stream.index != index);
        probe.warnings.push(error.message);
    }
    Ok(tracks)
}

impl Track {
    fn packet(&mut self, packet: ff::Packet, muxer: &mut Muxer) -> Result<(), MediaError> {
        match self {
            Self::Copied(track) => track.packet(packet, muxer),
            Self::Video(track) => track.packet(Some(&packet), muxer),
            Self::Audio(track) => track.packet(Some(&packet), muxer),
            Self::Subtitle(track) => track.packet(&packet, muxer),
        }
    }

    fn is_broken(&self) -> bool {
        matches!(self, Self::Copied(track) if track.is_broken())
    }

    /// Drains decoder, filters and encoder.
    fn finish(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        match self {
            Self::Copied(track) => track.finish(muxer),
            Self::Subtitle(_) => Ok(()),
            Self::Video(track) => track.packet(None, muxer),
            Self::Audio(track) => track.packet(None, muxer),
        }
    }

    /// Whether the input stream yielded anything.
    fn has_content(&self, muxer: &Muxer) -> bool {
        match self {
            Self::Copied(track) => muxer.packets(track.track()) > 0,
            Self::Video(track) => track.decoder().frames() > 0,
            Self::Audio(track) => track.decoder().frames() > 0,
            Self::Subtitle(_) => true,
        }
    }

    fn damaged(&self) -> u64 {
        match self {
            Self::Copied(track) => track.damaged(),
            Self::Video(track) => track.decoder().damaged(),
            Self::Audio(track) => track.decoder().damaged(),
            Self::Subtitle(track) => track.damaged(),
        }
    }
}

/// A file with a video stream must yield video, and one without must yield audio.
fn check_content(probe: &Probe, tracks: &[Option<Track>], muxer: &Muxer) -> Result<(), MediaError> {
    let has_content = |index: usize| tracks[index].as_ref().is_some_and(|track| track.has_content(muxer));
    match &probe.video {
        Some(video) if !has_content(video.index) => Err(MediaError::permanent(
            "no video frame could be decoded: the file is damaged or cut off at its start",
        )),
        None if !probe.audio.iter().any(|audio| has_content(audio.index)) => Err(MediaError::permanent(
            "no sound could be decoded: the file is damaged or cut off at its start",
        )),
        _ => Ok(()),
    }
}

fn warnings(
    probe: &Probe,
    plan: &Plan,
    tracks: &[Option<Track>],
    muxer: &Muxer,
    source: &Source,
) -> Vec<String> {
    let mut warnings = probe.warnings.clone();
    warnings.extend(source.warnings());
    if plan.reasons.contains(&Reason::Damaged) {
        warnings.push("the file is damaged: parts of the picture are wrong or missing".to_owned());
    }
    for (index, track) in tracks.iter().enumerate() {
        let Some(track) = track else { continue };
        match track.damaged() {
            0 if track.has_content(muxer) => {}
            0 => warnings.push(format!("stream {index} holds nothing that could be decoded")),
            damaged => warnings.push(format!("{damaged} damaged packets of stream {index} were left out")),
        }
    }
    if let Some(duration) = probe.duration.filter(|_| !source.has_jumped()) {
        let written = muxer.written_seconds();
        if written < duration - (duration * 0.02).max(0.5) {
            warnings.push(format!("the input ends early: {written:.1} s of {duration:.1} s are there"));
        }
    }
    warnings
}

/// Finishes the file while another thread keeps reporting: moving the index of a long file to the front
/// rewrites the whole file, in one call that reports no progress.
pub(super) fn finish(muxer: Muxer, report: &mut (dyn FnMut(Progress) + Send)) -> Result<(), MediaError> {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..MAX_FINISH_REPORTS {
                if waiting.recv_timeout(FINISH_REPORT_INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
                report(Progress { progress: 0.99, fps: None, stage: "finish".into() });
            }
        });
        let finished = muxer.finish();
        drop(done);
        finished
    })
}
