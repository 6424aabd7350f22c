//! The decision how a file is played: `POST /api/files/{id}/playback`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Body of `POST /api/files/{id}/playback`: what the client can play.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// `mp4`, `mov`, `webm`, `matroska`, `mpegts`, `mp3`, `ogg` and so on.
    pub containers: Vec<String>,
    /// Codecs of pictures.
    pub video: Vec<VideoCapability>,
    /// Codecs of sounds.
    pub audio: Vec<AudioCapability>,
    /// Pixels of the highest picture; absent: any.
    pub max_height: Option<u32>,
    /// Whether pictures made of two halves are shown whole.
    pub interlaced: bool,
    /// Whether high dynamic range is shown as it is meant.
    pub hdr: bool,
    /// Whether it plays HLS with segments in fragmented MP4.
    pub hls: bool,
    /// Whether it decodes by FFmpeg, as mpv and VLC do: all containers and codecs, whatever the lists say.
    pub all_codecs: bool,
}

/// A codec of pictures that a client plays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct VideoCapability {
    /// `h264`, `hevc`, `av1`, `vp9`, as FFmpeg names them.
    pub codec: String,
    /// `Main`, `High`, `Main 10`, as FFmpeg names them; absent: all with colours of 4:2:0.
    #[serde(default)]
    pub profiles: Option<Vec<String>>,
    /// Highest level, such as 5.1; absent: any.
    #[serde(default)]
    pub max_level: Option<f32>,
    /// Bits of a colour; absent: 8.
    #[serde(default)]
    pub max_bit_depth: Option<u32>,
}

/// A codec of sounds that a client plays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AudioCapability {
    /// `aac`, `opus`, `ac3`, as FFmpeg names them.
    pub codec: String,
    /// Most channels; absent: any number.
    #[serde(default)]
    pub max_channels: Option<u32>,
}

/// How much of an upload has to be another for the client to play it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PlaybackDecision {
    /// Nothing: the upload itself is played.
    Direct,
    /// The container.
    Remux,
    /// The sound, and the container.
    Audio,
    /// The picture.
    Full,
}

/// Why the upload itself is not played, or nothing can be yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum PlaybackReason {
    /// The client does not read its container.
    Container,
    /// The client does not decode its picture.
    VideoCodec,
    /// The client does not decode that profile.
    VideoProfile,
    /// The client decodes no such level.
    VideoLevel,
    /// A colour has more bits than the client decodes.
    VideoBitDepth,
    /// Colours are not those of 4:2:0.
    VideoPixelFormat,
    /// The picture is higher than the client shows.
    VideoHeight,
    /// The picture is interlaced.
    VideoInterlaced,
    /// The picture has high dynamic range.
    VideoHdr,
    /// The client does not decode its sound.
    AudioCodec,
    /// The sound has more channels than the client plays.
    AudioChannels,
    /// Its worker has not looked at it yet, or was one of an earlier release.
    UploadUnknown,
    /// It is not made yet in a form that the client plays.
    NotMadeYet,
    /// The client plays nothing that is or will be made.
    NothingFits,
}

/// Answer of `POST /api/files/{id}/playback`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Playback {
    /// How much has to be another.
    pub decision: PlaybackDecision,
    /// `original`, `web` or `hls`; absent: nothing can be played now, the reasons say why.
    pub rendition: Option<String>,
    /// Path and query that play it without a header.
    pub url: Option<String>,
    /// End of its validity.
    pub expires_at: Option<DateTime<Utc>>,
    /// All reasons against the upload itself; none if it is played.
    pub reasons: Vec<PlaybackReason>,
}
