//! A file of subtitles beside a film, as WebVTT.

use std::path::Path;

use ff::media::Type;
use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::error::MediaError;
use super::input::Input;
use super::open;
use super::webvtt::TextTrack;

/// Bytes of a file of subtitles; those of the longest films have a hundredth of it.
const MAX_BYTES: u64 = 64 << 20;

/// How a file of subtitles is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextTask {
    /// Pictures a second of the film, by which MicroDVD counts unless it names them itself.
    #[serde(default)]
    pub frame_rate: Option<f64>,
}

/// Subtitles that were read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// Number of cues in `subtitle.vtt`.
    pub cues: usize,
    /// Their format, as libav names it.
    pub format: String,
    /// Lines that could not be read, as sentences.
    pub warnings: Vec<String>,
}

/// Writes `subtitle.vtt` into `folder`.
pub(super) fn convert(input: &Input, folder: &Path, task: &TextTask) -> Result<Text, MediaError> {
    if input.size()? > MAX_BYTES {
        return Err(MediaError::permanent("it is too large for subtitles"));
    }
    let mut opened = open::open_text(input, task.frame_rate)?;
    let stream = opened.streams().find(|stream| stream.parameters().medium() == Type::Subtitle);
    let stream = stream.ok_or_else(|| MediaError::permanent("it has no subtitles"))?;
    let format = stream.parameters().id().name().to_owned();
    let mut track = TextTrack::open(&stream, "subtitle", 0.0)?;
    loop {
        let mut packet = ff::Packet::empty();
        match packet.read(&mut opened) {
            Ok(()) if packet.stream() == track.stream() => track.push(packet),
            Ok(()) => {}
            Err(ff::Error::Other { errno: ff::error::ENOMEM }) => {
                return Err(MediaError::transient("out of memory while reading the subtitles"));
            }
            // These demuxers read the whole file when they open it.
            Err(_) => break,
        }
    }
    let mut warnings = Vec::new();
    let cues = track.write(folder, &mut warnings)?;
    if cues == 0 {
        return Err(MediaError::permanent("it has no lines that could be read"));
    }
    Ok(Text { cues, format, warnings })
}
