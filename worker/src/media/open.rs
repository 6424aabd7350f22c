//! Opens an untrusted file.

use ffmpeg_next as ff;
use nebula_media_kind::{CONTAINERS, demuxers, encryption};

use super::codecs;
use super::error::MediaError;
use super::input::Input;

/// Bytes and microseconds of input that libav may read to recognise the streams.
const PROBE_BYTES: &str = "33554432";
const PROBE_MICROSECONDS: &str = "30000000";
/// Demuxers of pictures that cameras and programs for pictures write; of those for films, the one of AVIF.
const PICTURES: &str =
    "jpeg_pipe,png_pipe,apng,webp_pipe,gif,gif_pipe,bmp_pipe,tiff_pipe,jpegxl_pipe,mov,mp4,m4a,3gp,3g2,mj2";
/// Demuxers of subtitles that consist of text.
const TEXTS: &str = "srt,ass,webvtt,microdvd,subviewer,subviewer1,mpl2,sami";
/// Tracks of a file.
const MAX_TRACKS: u32 = 1_000;

/// Bytes that libav asks a parent for at once.
const BUFFER: usize = 128 * 1024;

/// Opens a film or a recording.
pub(super) fn open(input: &Input) -> Result<ff::format::context::Input, MediaError> {
    refuse_encrypted(input)?;
    open_as(input, &demuxers(), ff::Dictionary::new()).map_err(|error| match error {
        // libav says so when the file has more tracks, too.
        ff::Error::Other { errno: ff::error::ENOMEM } => MediaError::permanent(format!(
            "the file is beyond a limit: it has more than {MAX_TRACKS} tracks, or its header asks for more than 1 GiB \
             of memory"
        )),
        error if is_unknown(error) => {
            let names: Vec<_> = CONTAINERS.iter().map(|container| container.name).collect();
            let names = names.join(", ");
            MediaError::permanent(format!("this is not a media file we can read, or it is damaged; we read {names}"))
        }
        other => MediaError::input("open the file", other),
    })
}

/// Opens a picture.
pub(super) fn open_picture(input: &Input) -> Result<ff::format::context::Input, MediaError> {
    let opened = open_as(input, PICTURES, ff::Dictionary::new());
    opened.map_err(|error| other_kind(error, "FFmpeg on this machine does not read its format"))
}

/// Opens a file of subtitles; `frame_rate` is for those that count in pictures.
pub(super) fn open_text(
    input: &Input,
    frame_rate: Option<f64>,
) -> Result<ff::format::context::Input, MediaError> {
    let mut options = ff::Dictionary::new();
    if let Some(rate) = frame_rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
        options.set("subfps", &format!("{rate:.6}"));
    }
    let opened = open_as(input, TEXTS, options);
    opened.map_err(|error| other_kind(error, "it is of no format of text that is read"))
}

fn other_kind(error: ff::Error, reason: &str) -> MediaError {
    if is_unknown(error) { MediaError::permanent(reason) } else { MediaError::input("open the file", error) }
}

/// Opens the input with the whitelists, so that libav does not follow references to other files.
fn open_as(
    input: &Input,
    demuxers: &str,
    mut options: ff::Dictionary<'_>,
) -> Result<ff::format::context::Input, ff::Error> {
    options.set("format_whitelist", demuxers);
    options.set("codec_whitelist", codecs::names());
    options.set("protocol_whitelist", "file");
    options.set("max_streams", &MAX_TRACKS.to_string());
    options.set("max_probe_packets", "5000");
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_MICROSECONDS);
    match input {
        // Without the prefix a colon in the name would end a protocol name.
        Input::File(path) => ff::format::input_with_dictionary(&format!("file:{}", path.display()), options),
        Input::Served { .. } => {
            let (bytes, _) = input.open().map_err(|_| ff::Error::Other { errno: ff::error::EIO })?;
            ff::format::context::StreamIo::from_read_seek_with_capacity(bytes, BUFFER)
                .and_then(|bytes| ff::format::input_from_stream(bytes, None, Some(options)))
        }
    }
}

/// Whether no demuxer takes the file.
fn is_unknown(error: ff::Error) -> bool {
    matches!(
        error,
        ff::Error::InvalidData
            | ff::Error::DemuxerNotFound
            | ff::Error::Eof
            | ff::Error::Other { errno: ff::error::EINVAL }
    )
}

fn refuse_encrypted(input: &Input) -> Result<(), MediaError> {
    let failed = |error| MediaError::transient(format!("cannot read the file: {error}"));
    let (mut bytes, size) = input.open()?;
    match encryption(&mut bytes, size).map_err(failed)? {
        Some(system) => Err(MediaError::permanent(format!(
            "the file is encrypted with {system}, so it cannot be played here"
        ))),
        None => Ok(()),
    }
}
