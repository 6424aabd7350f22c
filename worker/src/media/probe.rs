//! Opens an untrusted file and lists its streams.

use std::path::Path;

use ff::codec::Id;
use ff::format::stream::Disposition;
use ff::media::Type;
use ffmpeg_next as ff;

use super::error::MediaError;
use super::ffi::{self, StreamParameters};

/// Containers that hold their own media. Playlists (hls, dash, concat) are left out on purpose: they open
/// other files, and libav recognises them by content, not by name.
const FORMATS: &str = "matroska,webm,mov,mp4,m4a,3gp,3g2,mpegts,avi,flv,ogg,mp3,wav,flac,aac";
/// Decoders by name: those that real files need. The hundreds of others are attack surface only.
const CODECS: &str = "h264,hevc,vp8,vp9,libdav1d,av1,mpeg1video,mpeg2video,mpeg4,msmpeg4,msmpeg4v2,h263,\
    flv,vc1,wmv3,mjpeg,ffv1,dvvideo,prores,theora,libtheora,aac,aac_latm,mp3float,mp3,\
    mp2float,mp2,ac3,eac3,dca,truehd,mlp,flac,alac,vorbis,libvorbis,opus,libopus,\
    pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_alaw,pcm_mulaw,\
    adpcm_ms,adpcm_ima_wav,amrnb,amrwb,subrip,srt,ass,ssa,mov_text,webvtt,text";
/// Bytes and microseconds of input that libav may read to recognise the streams.
const PROBE_BYTES: &str = "33554432";
const PROBE_MICROSECONDS: &str = "30000000";
/// No browser plays more than 8K, and each frame would take 100 MB.
const MAX_PIXELS: u64 = 8192 * 8192;

/// One usable stream.
pub(super) struct Stream {
    pub(super) index: usize,
    pub(super) codec: Id,
    pub(super) parameters: StreamParameters,
    /// ISO 639 language, if the file names one.
    pub(super) language: Option<String>,
    pub(super) frame_rate: ff::Rational,
    /// Rotation of the picture: 3x3 fixed-point numbers in native byte order.
    pub(super) display_matrix: Option<Vec<u8>>,
}

/// The streams of a file that an MP4 can hold.
pub(super) struct Probe {
    /// Name of the demuxer, such as `matroska,webm`.
    pub(super) format: String,
    /// Length in seconds, if the container names it.
    pub(super) duration: Option<f64>,
    /// Time of the first used packet on the container's clock, in seconds.
    pub(super) start: f64,
    pub(super) video: Option<Stream>,
    pub(super) audio: Vec<Stream>,
    pub(super) subtitles: Vec<Stream>,
    /// Streams that are left out, as sentences.
    pub(super) warnings: Vec<String>,
}

/// Options of all decoders: the same limits as for the probe.
pub(super) fn decoder_options() -> ff::Dictionary<'static> {
    let mut options = ff::Dictionary::new();
    options.set("codec_whitelist", CODECS);
    options.set("max_pixels", &MAX_PIXELS.to_string());
    options
}

/// Opens `path` with the whitelists, so that libav does not follow references to other files.
pub(super) fn open(path: &Path) -> Result<ff::format::context::Input, MediaError> {
    let mut options = ff::Dictionary::new();
    options.set("format_whitelist", FORMATS);
    options.set("codec_whitelist", CODECS);
    options.set("protocol_whitelist", "file");
    options.set("max_streams", "64");
    options.set("max_probe_packets", "5000");
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_MICROSECONDS);
    // Without the prefix a colon in the name would end a protocol name.
    let url = format!("file:{}", path.display());
    ff::format::input_with_dictionary(&url, options).map_err(|error| match error {
        ff::Error::InvalidData | ff::Error::DemuxerNotFound | ff::Error::Eof => MediaError::permanent(
            "this is not a media file we can read: upload Matroska, MP4, MPEG-TS, AVI, FLV, Ogg, MP3, WAV, FLAC \
             or AAC",
        ),
        other => MediaError::input("open the file", other),
    })
}

/// Lists the streams of an open input.
pub(super) fn probe(input: &ff::format::context::Input) -> Result<Probe, MediaError> {
    let mut probe = Probe {
        format: input.format().name().to_owned(),
        duration: (input.duration() > 0).then(|| input.duration() as f64 / f64::from(ff::ffi::AV_TIME_BASE)),
        start: 0.0,
        video: None,
        audio: Vec::new(),
        subtitles: Vec::new(),
        warnings: Vec::new(),
    };
    let best_video = input.streams().best(Type::Video).map(|stream| stream.index());
    let mut unusable = None;
    for stream in input.streams() {
        let parameters = stream.parameters();
        let (kind, codec) = (parameters.medium(), parameters.id());
        // Cover art is a still picture, not a video stream.
        if !matches!(kind, Type::Video | Type::Audio | Type::Subtitle) || is_cover(&stream) {
            continue;
        }
        let usable = Stream {
            index: stream.index(),
            codec,
            parameters: ffi::stream_parameters(&parameters),
            language: stream
                .metadata()
                .get("language")
                .map(str::to_owned)
                .filter(|language| language != "und"),
            frame_rate: frame_rate(&stream),
            display_matrix: stream
                .side_data()
                .find(|data| data.kind() == ff::packet::side_data::Type::DisplayMatrix)
                .map(|data| data.data().to_vec()),
        };
        match kind {
            Type::Video if Some(usable.index) == best_video || best_video.is_none() => {
                match check_video(&usable) {
                    Ok(()) => probe.video = Some(usable),
                    Err(error) => unusable = Some(error),
                }
            }
            Type::Video => {
                probe.warnings.push(format!("video stream {} was left out: one is kept", usable.index))
            }
            Type::Audio
                if is_decodable(codec)
                    && usable.parameters.channels > 0
                    && usable.parameters.sample_rate > 0 =>
            {
                probe.audio.push(usable);
            }
            Type::Subtitle if is_text(codec) => probe.subtitles.push(usable),
            _ => probe.warnings.push(format!(
                "{} stream {} was left out: {} is not supported",
                name(kind),
                usable.index,
                codec.name()
            )),
        }
    }
    if let Some(error) = unusable {
        return Err(error);
    }
    if probe.video.is_none() && probe.audio.is_empty() {
        let codecs: Vec<_> = input.streams().map(|stream| stream.parameters().id().name()).collect();
        return Err(MediaError::permanent(match codecs.is_empty() {
            true => "the file holds no video and no audio".to_owned(),
            false => format!("the file holds no video or audio we can decode, only {}", codecs.join(", ")),
        }));
    }
    probe.start = start(input, &probe);
    Ok(probe)
}

fn check_video(stream: &Stream) -> Result<(), MediaError> {
    let (width, height) = (stream.parameters.width, stream.parameters.height);
    if !is_decodable(stream.codec) {
        return Err(MediaError::permanent(format!("video codec {} is not supported", stream.codec.name())));
    }
    if width == 0 || height == 0 {
        return Err(MediaError::permanent(
            "no video frame could be decoded: the picture size is not in the file",
        ));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(MediaError::permanent(format!(
            "the picture of {width}x{height} is larger than 8192x8192"
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

fn is_cover(stream: &ff::Stream<'_>) -> bool {
    stream.disposition().contains(Disposition::ATTACHED_PIC)
}

fn is_decodable(codec: Id) -> bool {
    ffi::decoder_name(codec).is_some_and(|name| CODECS.split(',').any(|allowed| allowed == name))
}

fn is_text(codec: Id) -> bool {
    matches!(codec, Id::SUBRIP | Id::SRT | Id::ASS | Id::SSA | Id::MOV_TEXT | Id::WEBVTT | Id::TEXT)
}

fn name(kind: Type) -> &'static str {
    match kind {
        Type::Video => "video",
        Type::Audio => "audio",
        _ => "subtitle",
    }
}
