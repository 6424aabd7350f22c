//! Opens an untrusted file.

use std::fs::File;
use std::path::Path;

use ffmpeg_next as ff;
use nebula_media_kind::{CONTAINERS, demuxers, encryption};

use super::codecs;
use super::error::MediaError;

/// Bytes and microseconds of input that libav may read to recognise the streams.
const PROBE_BYTES: &str = "33554432";
const PROBE_MICROSECONDS: &str = "30000000";
/// Tracks of a file.
const MAX_TRACKS: u32 = 1_000;

/// Opens `path` with the whitelists, so that libav does not follow references to other files.
pub(super) fn open(path: &Path) -> Result<ff::format::context::Input, MediaError> {
    refuse_encrypted(path)?;
    let mut options = ff::Dictionary::new();
    options.set("format_whitelist", &demuxers());
    options.set("codec_whitelist", codecs::names());
    options.set("protocol_whitelist", "file");
    options.set("max_streams", &MAX_TRACKS.to_string());
    options.set("max_probe_packets", "5000");
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_MICROSECONDS);
    // Without the prefix a colon in the name would end a protocol name.
    let url = format!("file:{}", path.display());
    ff::format::input_with_dictionary(&url, options).map_err(|error| match error {
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

fn refuse_encrypted(path: &Path) -> Result<(), MediaError> {
    let failed = |error| MediaError::transient(format!("cannot read the file: {error}"));
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    match encryption(&mut file, size).map_err(failed)? {
        Some(system) => Err(MediaError::permanent(format!(
            "the file is encrypted with {system}, so it cannot be played here"
        ))),
        None => Ok(()),
    }
}
