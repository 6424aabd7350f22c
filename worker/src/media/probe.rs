//! Lists the streams of a file.

use std::collections::BTreeSet;

use ff::codec::Id;
use ff::media::Type;
use ffmpeg_next as ff;

use super::chapter::{self, Chapter};
use super::choice;
use super::codecs::{MAX_PIXELS, is_decodable};
use super::error::MediaError;
use super::ffi::{self, StreamParameters};

/// Seconds of a file; each minute of a film becomes a job.
const MAX_DURATION: f64 = 100.0 * 3600.0;

/// One usable stream.
pub(super) struct Stream {
    pub(super) index: usize,
    pub(super) codec: Id,
    pub(super) parameters: StreamParameters,
    /// ISO 639 language, if the file names one.
    pub(super) language: Option<String>,
    pub(super) title: Option<String>,
    /// A subtitle that is to be shown even when none is chosen.
    pub(super) is_forced: bool,
    pub(super) frame_rate: ff::Rational,
    /// Rotation of the picture: 3x3 fixed-point numbers in native byte order.
    pub(super) display_matrix: Option<Vec<u8>>,
}

/// The streams of a file that an MP4 can hold.
pub(super) struct Probe {
    /// Name of the demuxer, such as `matroska,webm`.
    pub(super) format: String,
    /// Times may begin anew, or jump, in the middle of this kind of container.
    pub(super) may_jump: bool,
    /// The container stores no presentation times of the picture.
    pub(super) lacks_times: bool,
    /// Length in seconds, if the container names it.
    pub(super) duration: Option<f64>,
    /// Time of the first used packet on the container's clock, in seconds.
    pub(super) start: f64,
    pub(super) video: Option<Stream>,
    /// The sound that plays unless another is chosen comes first.
    pub(super) audio: Vec<Stream>,
    pub(super) subtitles: Vec<Stream>,
    /// A still picture that stands for the recording.
    pub(super) cover: Option<Stream>,
    pub(super) chapters: Vec<Chapter>,
    /// Streams that are left out, as sentences.
    pub(super) warnings: Vec<String>,
}

/// Lists the streams of an open input that are used.
pub(super) fn probe(input: &ff::format::context::Input) -> Result<Probe, MediaError> {
    let chosen = choice::choose(input);
    let mut probe = Probe {
        format: input.format().name().to_owned(),
        may_jump: ffi::may_jump(input),
        // AVI stores an order of decoding only, raw streams not even that.
        lacks_times: input.format().name() == "avi",
        duration: None,
        start: 0.0,
        video: None,
        audio: Vec::new(),
        subtitles: Vec::new(),
        cover: choice::cover(input).map(|stream| Stream::of(input, &stream)),
        chapters: Vec::new(),
        warnings: chosen.left_out,
    };
    for index in chosen.streams {
        let Some(stream) = input.stream(index) else { continue };
        let usable = Stream::of(input, &stream);
        match stream.parameters().medium() {
            Type::Video => {
                check_video(&usable)?;
                probe.lacks_times |= stream.start_time() == ff::ffi::AV_NOPTS_VALUE;
                probe.video = Some(usable);
            }
            Type::Audio => probe.audio.push(usable),
            _ => probe.subtitles.push(usable),
        }
    }
    if probe.video.is_none() && probe.audio.is_empty() {
        return Err(nothing_usable(input));
    }
    probe.start = start(input, &probe);
    probe.duration = duration(input, &probe);
    if let Some(duration) = probe.duration.filter(|duration| *duration > MAX_DURATION) {
        let hours = |seconds: f64| (seconds / 3600.0).round();
        return Err(MediaError::permanent(format!(
            "the file says that it lasts {} hours; the limit is {} hours",
            hours(duration),
            hours(MAX_DURATION)
        )));
    }
    probe.chapters = chapter::list(input, probe.start, probe.duration);
    Ok(probe)
}

impl Stream {
    pub(super) fn of(input: &ff::format::context::Input, stream: &ff::Stream<'_>) -> Self {
        let mut parameters = ffi::stream_parameters(&stream.parameters());
        parameters.aspect = ffi::sample_aspect(input, stream);
        let text = |key: &str| stream.metadata().get(key).map(chapter::short);
        Self {
            index: stream.index(),
            codec: stream.parameters().id(),
            parameters,
            language: text("language").filter(|language| language != "und"),
            title: text("title").or_else(|| text("handler_name").filter(|name| !is_generic(name))),
            is_forced: stream.disposition().contains(ff::format::stream::Disposition::FORCED),
            frame_rate: frame_rate(stream),
            display_matrix: stream
                .side_data()
                .find(|data| data.kind() == ff::packet::side_data::Type::DisplayMatrix)
                .map(|data| data.data().to_vec()),
        }
    }
}

/// Whether MP4 names the program that wrote a track, and not the track.
fn is_generic(handler: &str) -> bool {
    handler.is_empty()
        || ["andler", "edia", "GPAC", "Apple", "Track"].iter().any(|word| handler.contains(word))
}

fn nothing_usable(input: &ff::format::context::Input) -> MediaError {
    let codecs: BTreeSet<_> = input.streams().map(|stream| stream.parameters().id().name()).collect();
    MediaError::permanent(match codecs.is_empty() {
        true => "the file holds no video and no audio".to_owned(),
        false => {
            let names: Vec<_> = codecs.into_iter().collect();
            format!("the file holds no video or audio we can decode, only {}", names.join(", "))
        }
    })
}

/// Length in seconds, if the container names it.
fn duration(input: &ff::format::context::Input, probe: &Probe) -> Option<f64> {
    let named = input.duration() as f64 / f64::from(ff::ffi::AV_TIME_BASE);
    // These name the time of their end, from which a late start has to be subtracted.
    let names_end = probe.format.starts_with("matroska") || probe.format.starts_with("mov");
    let late = if names_end && probe.start > 0.5 { probe.start } else { 0.0 };
    Some(named - late).filter(|seconds| *seconds > 0.0)
}

pub(super) fn check_video(stream: &Stream) -> Result<(), MediaError> {
    let (width, height) = (stream.parameters.width, stream.parameters.height);
    if !is_decodable(stream.codec) {
        return Err(MediaError::permanent(format!("video codec {} is not supported", stream.codec.name())));
    }
    if width == 0 || height == 0 {
        return Err(MediaError::permanent(
            "no picture can be decoded: its size is not in the file, or beyond the limit of 8192x8192 pixels",
        ));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(MediaError::permanent(format!(
            "the picture of {width}x{height} is beyond the limit of 8192x8192 pixels"
        )));
    }
    Ok(())
}

/// The earliest start of the used streams. A slightly negative start is the priming of an audio encoder: an
/// edit list hides it, so it must not be moved to zero.
fn start(input: &ff::format::context::Input, probe: &Probe) -> f64 {
    let used = probe.video.iter().chain(&probe.audio).filter_map(|stream| input.stream(stream.index));
    let starts = used
        .filter(|stream| stream.start_time() != ff::ffi::AV_NOPTS_VALUE)
        .map(|stream| stream.start_time() as f64 * f64::from(stream.time_base()));
    let earliest = starts.fold(f64::INFINITY, f64::min);
    if !earliest.is_finite() || (-0.5..0.0).contains(&earliest) { 0.0 } else { earliest }
}

fn frame_rate(stream: &ff::Stream<'_>) -> ff::Rational {
    let known = |rate: &ff::Rational| rate.numerator() > 0 && rate.denominator() > 0;
    [stream.avg_frame_rate(), stream.rate()].into_iter().find(known).unwrap_or(ff::Rational(25, 1))
}
