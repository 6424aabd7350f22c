//! Opens an untrusted file.

use ffmpeg_next as ff;
use nebula_media_kind::{CONTAINERS, demuxers, encryption};

use super::codecs;
use super::error::MediaError;
use super::input::Input;

/// Bytes and microseconds of input that libav may read to recognise the streams.
const PROBE_BYTES: &str = "33554432";
const PROBE_MICROSECONDS: &str = "30000000";
/// Tracks of a file.
const MAX_TRACKS: u32 = 1_000;

/// Bytes that libav asks a parent for at once.
const BUFFER: usize = 128 * 1024;

/// Opens the input with the whitelists, so that libav does not follow references to other files.
pub(super) fn open(input: &Input) -> Result<ff::format::context::Input, MediaError> {
    refuse_encrypted(input)?;
    let mut options = ff::Dictionary::new();
    options.set("format_whitelist", &demuxers());
    options.set("codec_whitelist", codecs::names());
    options.set("protocol_whitelist", "file");
    options.set("max_streams", &MAX_TRACKS.to_string());
    options.set("max_probe_packets", "5000");
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_MICROSECONDS);
    let opened = match input {
        // Without the prefix a colon in the name would end a protocol name.
        Input::File(path) => ff::format::input_with_dictionary(&format!("file:{}", path.display()), options),
        Input::Served { .. } => {
            let (bytes, _) = input.open()?;
            ff::format::context::StreamIo::from_read_seek_with_capacity(bytes, BUFFER)
                .and_then(|bytes| ff::format::input_from_stream(bytes, None, Some(options)))
        }
    };
    opened.map_err(|error| match error {
        // libav says so when the file has more tracks, too.
        ff::Error::Other { errno: ff::error::ENOMEM } => MediaError::permanent(format!(
            "the file is beyond a limit: it has more than {MAX_TRACKS} tracks, or its header asks for more than 1 GiB \
             of memory"
        )),
        ff::Error::InvalidData
        | ff::Error::DemuxerNotFound
        | ff::Error::Eof
        | ff::Error::Other { errno: ff::error::EINVAL } => {
            let names: Vec<_> = CONTAINERS.iter().map(|container| container.name).collect();
            let names = names.join(", ");
            MediaError::permanent(format!("this is not a media file we can read, or it is damaged; we read {names}"))
        }
        other => MediaError::input("open the file", other),
    })
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
