//! Container and streams of an upload, for players that may be able to play it as it is.

use serde::{Deserialize, Serialize};

use super::decision::{is_hdr, is_interlaced};
use super::probe::{Probe, Stream};

/// Container and streams of an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Original {
    /// Name of the demuxer, such as `matroska,webm`.
    pub container: String,
    /// The picture.
    pub video: Option<OriginalVideo>,
    /// The sounds; the one that plays unless another is chosen comes first.
    pub audio: Vec<OriginalAudio>,
}

/// The picture of an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OriginalVideo {
    /// As FFmpeg names it: `h264`, `hevc`, `av1`.
    pub codec: String,
    /// As FFmpeg names it: `High`, `Main 10`.
    pub profile: Option<String>,
    /// As the codec counts: 41 is level 4.1 of H.264, 123 is level 4.1 of HEVC.
    pub level: Option<i32>,
    /// Bits of a colour.
    pub bit_depth: u32,
    /// Whether colours have half the width and half the height (4:2:0).
    pub is_420: bool,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether pictures are made of two halves.
    pub is_interlaced: bool,
    /// Whether its brightness is that of high dynamic range.
    pub is_hdr: bool,
}

/// A sound of an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OriginalAudio {
    /// As FFmpeg names it: `aac`, `ac3`, `opus`.
    pub codec: String,
    /// As FFmpeg names it: `LC`, `HE-AAC`.
    pub profile: Option<String>,
    /// Number of channels.
    pub channels: u32,
}

impl Original {
    pub(super) fn of(probe: &Probe) -> Self {
        let container = probe.format.clone();
        let video = probe.video.as_ref().map(video);
        let audio = |stream: &Stream| OriginalAudio {
            codec: stream.codec.name().to_owned(),
            profile: stream.parameters.profile_name.map(str::to_owned),
            channels: stream.parameters.channels,
        };
        Self { container, video, audio: probe.audio.iter().map(audio).collect() }
    }
}

fn video(stream: &Stream) -> OriginalVideo {
    let parameters = &stream.parameters;
    OriginalVideo {
        codec: stream.codec.name().to_owned(),
        profile: parameters.profile_name.map(str::to_owned),
        level: Some(parameters.level).filter(|level| *level > 0),
        bit_depth: parameters.bit_depth,
        is_420: parameters.is_420,
        width: parameters.width,
        height: parameters.height,
        is_interlaced: is_interlaced(parameters.field_order),
        is_hdr: is_hdr(parameters.transfer),
    }
}
