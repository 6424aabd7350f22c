//! From one input file to one output file: builds a track per stream, then moves packets until the end.
//!
//! Every track owns its decoder, filters and encoder and meets the others only in the muxer, so that each can be
//! given a thread and a channel without touching the others.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ffmpeg_next as ff;

use super::audio::Audio;
use super::copy::Copy;
use super::decision::{self, Plan};
use super::mux::Muxer;
use super::probe::{self, Probe};
use super::progress::{Meter, Progress};
use super::subtitle::Subtitle;
use super::video::{self, Video};
use super::{MediaError, Summary};

/// Unreadable packets in a row after which the rest of the file is given up.
const MAX_BAD_READS: u32 = 1_000;
/// How often, and for how long at most, the rewrite at the end claims to be alive: 30 minutes.
const FINISH_TICK: Duration = Duration::from_secs(10);
const FINISH_TICKS: usize = 180;

/// What becomes of one input stream.
enum Track {
    Copy(Copy),
    Video(Box<Video>),
    Audio(Box<Audio>),
    Subtitle(Box<Subtitle>),
}

/// Reads `input`, writes `output`, and tells `report` how it goes.
pub fn convert(
    input: &Path,
    output: &Path,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Summary, MediaError> {
    report(Progress { progress: 0.0, fps: None, stage: "probe".into() });
    let size = std::fs::metadata(input).map(|metadata| metadata.len()).unwrap_or(0);
    if size == 0 {
        return Err(MediaError::permanent("the file is empty"));
    }
    let mut source = probe::open(input)?;
    let mut probe = probe::probe(&source)?;
    let plan = decision::decide(&probe);
    let mut muxer = Muxer::create(output)?;
    muxer.set_title(source.metadata().get("title"));
    let mut tracks = tracks(&source, &mut probe, &plan, &mut muxer)?;
    muxer.start()?;

    let mut meter = Meter::new(plan.decision.to_string(), report);
    let unreadable = pump(&mut source, &mut tracks, &mut muxer, |muxer, position| {
        let by_bytes = || position as f64 / size as f64;
        let fraction = || probe.duration.map_or_else(by_bytes, |duration| muxer.written() / duration);
        meter.tick(muxer.pictures(), || fraction() * 0.99);
    })?;
    for track in tracks.iter_mut().flatten() {
        track.finish(&mut muxer)?;
    }
    meter.finishing();
    check_content(&probe, &tracks, &muxer)?;
    let warnings = warnings(&probe, &tracks, &muxer, unreadable);
    let summary = summarise(&probe, plan, &muxer, warnings);
    finish(muxer, report)?;
    Ok(summary)
}

/// One track per stream of the probe, at its place in the input's numbering.
fn tracks(
    source: &ff::format::context::Input,
    probe: &mut Probe,
    plan: &Plan,
    muxer: &mut Muxer,
) -> Result<Vec<Option<Track>>, MediaError> {
    let mut tracks: Vec<Option<Track>> = source.streams().map(|_| None).collect();
    let input =
        |index| source.stream(index).ok_or_else(|| MediaError::permanent(format!("stream {index} vanished")));
    let start = probe.start;
    if let Some(stream) = &probe.video {
        let track = match plan.copy_video {
            true => Track::Copy(Copy::new(&input(stream.index)?, stream, start, muxer)?),
            false => Track::Video(Box::new(Video::new(&input(stream.index)?, stream, start, muxer)?)),
        };
        tracks[stream.index] = Some(track);
    }
    for (stream, copy) in probe.audio.iter().zip(&plan.copy_audio) {
        let track = match copy {
            true => Track::Copy(Copy::new(&input(stream.index)?, stream, start, muxer)?),
            false => Track::Audio(Box::new(Audio::new(&input(stream.index)?, stream, start, muxer)?)),
        };
        tracks[stream.index] = Some(track);
    }
    let mut refused = Vec::new();
    for stream in &probe.subtitles {
        match Subtitle::new(&input(stream.index)?, stream, start, muxer) {
            Ok(track) => tracks[stream.index] = Some(Track::Subtitle(Box::new(track))),
            // A film without one of its subtitles is better than no film.
            Err(error) => refused.push((stream.index, error)),
        }
    }
    for (index, error) in refused {
        probe.subtitles.retain(|stream| stream.index != index);
        probe.warnings.push(error.sentence);
    }
    Ok(tracks)
}

/// Moves every packet to its track; how many could not be read.
fn pump(
    source: &mut ff::format::context::Input,
    tracks: &mut [Option<Track>],
    muxer: &mut Muxer,
    mut tick: impl FnMut(&Muxer, isize),
) -> Result<u64, MediaError> {
    let (mut unreadable, mut in_a_row) = (0, 0);
    loop {
        let mut packet = ff::Packet::empty();
        match packet.read(source) {
            Ok(()) if packet.is_corrupt() => unreadable += 1,
            Ok(()) => {
                in_a_row = 0;
                let position = packet.position();
                if let Some(track) = tracks.get_mut(packet.stream()).and_then(Option::as_mut) {
                    track.packet(packet, muxer)?;
                }
                tick(muxer, position);
            }
            Err(ff::Error::Eof) => return Ok(unreadable),
            Err(ff::Error::Other { errno: ff::error::ENOMEM }) => {
                return Err(MediaError::transient("out of memory while reading the file"));
            }
            // Demuxers find their way again after damage; one that does not is at its end.
            Err(error) => {
                unreadable += 1;
                in_a_row += 1;
                if error != ff::Error::InvalidData || in_a_row > MAX_BAD_READS {
                    return Ok(unreadable);
                }
            }
        }
    }
}

impl Track {
    fn packet(&mut self, packet: ff::Packet, muxer: &mut Muxer) -> Result<(), MediaError> {
        match self {
            Self::Copy(track) => track.packet(packet, muxer),
            Self::Video(track) => track.packet(Some(&packet), muxer),
            Self::Audio(track) => track.packet(Some(&packet), muxer),
            Self::Subtitle(track) => track.packet(&packet, muxer),
        }
    }

    /// Empties decoder, filters and encoder.
    fn finish(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        match self {
            Self::Copy(track) => track.finish(muxer),
            Self::Subtitle(_) => Ok(()),
            Self::Video(track) => track.packet(None, muxer),
            Self::Audio(track) => track.packet(None, muxer),
        }
    }

    /// Whether anything came out of the input stream.
    fn is_alive(&self, muxer: &Muxer) -> bool {
        match self {
            Self::Copy(track) => muxer.packets(track.track()) > 0,
            Self::Video(track) => track.decoder().frames() > 0,
            Self::Audio(track) => track.decoder().frames() > 0,
            Self::Subtitle(_) => true,
        }
    }

    fn damaged(&self) -> u64 {
        match self {
            Self::Copy(_) => 0,
            Self::Video(track) => track.decoder().damaged(),
            Self::Audio(track) => track.decoder().damaged(),
            Self::Subtitle(track) => track.damaged(),
        }
    }
}

/// A file that promises a picture must give one; one that promises only sound, some of it.
fn check_content(probe: &Probe, tracks: &[Option<Track>], muxer: &Muxer) -> Result<(), MediaError> {
    let is_alive = |index: usize| tracks[index].as_ref().is_some_and(|track| track.is_alive(muxer));
    match &probe.video {
        Some(video) if !is_alive(video.index) => Err(MediaError::permanent(
            "no video frame could be decoded: the file is damaged or cut off at its start",
        )),
        None if !probe.audio.iter().any(|audio| is_alive(audio.index)) => Err(MediaError::permanent(
            "no sound could be decoded: the file is damaged or cut off at its start",
        )),
        _ => Ok(()),
    }
}

fn warnings(probe: &Probe, tracks: &[Option<Track>], muxer: &Muxer, unreadable: u64) -> Vec<String> {
    let mut warnings = probe.warnings.clone();
    if unreadable > 0 {
        warnings.push(format!("{unreadable} damaged packets were skipped"));
    }
    for (index, track) in tracks.iter().enumerate() {
        let Some(track) = track else { continue };
        match track.damaged() {
            0 if track.is_alive(muxer) => {}
            0 => warnings.push(format!("stream {index} holds nothing that could be decoded")),
            damaged => warnings.push(format!("{damaged} packets of stream {index} could not be decoded")),
        }
    }
    if let Some(duration) = probe.duration {
        let written = muxer.written();
        if written < duration - (duration * 0.02).max(0.5) {
            warnings.push(format!("the input ends early: {written:.1} s of {duration:.1} s are there"));
        }
    }
    warnings
}

fn summarise(probe: &Probe, plan: Plan, muxer: &Muxer, warnings: Vec<String>) -> Summary {
    let name = |copied: bool, codec: ff::codec::Id, encoded: &str| match copied {
        true => codec.name().to_owned(),
        false => encoded.to_owned(),
    };
    let size = probe.video.as_ref().map(|stream| match plan.copy_video {
        true => video::displayed_size(stream),
        false => video::output_size(stream),
    });
    let first_audio = probe.audio.first().zip(plan.copy_audio.first());
    Summary {
        decision: plan.decision,
        reasons: plan.reasons,
        duration_seconds: (muxer.written() * 1000.0).round() / 1000.0,
        width: size.map(|(width, _)| width),
        height: size.map(|(_, height)| height),
        video_codec: probe.video.as_ref().map(|stream| name(plan.copy_video, stream.codec, "h264")),
        audio_codec: first_audio.map(|(stream, copied)| name(*copied, stream.codec, "aac")),
        audio_tracks: probe.audio.len(),
        subtitles: probe
            .subtitles
            .iter()
            .map(|stream| stream.language.clone().unwrap_or_else(|| "und".into()))
            .collect(),
        warnings,
    }
}

/// Finishes the file while another thread keeps saying so: moving the index of a long film to the front rewrites
/// the whole file, in one call that reports nothing.
fn finish(muxer: Muxer, report: &mut (dyn FnMut(Progress) + Send)) -> Result<(), MediaError> {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..FINISH_TICKS {
                if waiting.recv_timeout(FINISH_TICK) != Err(mpsc::RecvTimeoutError::Timeout) {
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
