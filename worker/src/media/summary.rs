//! The description of the output.

use serde::{Deserialize, Serialize};

use super::decision::{Decision, Reason};

/// Properties of the output and the reasons for the conversion; the job's result and the rendition's detail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How much had to be encoded.
    pub decision: Decision,
    /// All reasons against a plain copy; empty for a remux.
    pub reasons: Vec<Reason>,
    /// Length in seconds.
    pub duration_seconds: f64,
    /// Displayed width in pixels; `None` without video.
    pub width: Option<u32>,
    /// Displayed height in pixels.
    pub height: Option<u32>,
    /// Codec of the video track.
    pub video_codec: Option<String>,
    /// Codec of the first audio track.
    pub audio_codec: Option<String>,
    /// Number of audio tracks.
    pub audio_tracks: usize,
    /// Language of each subtitle track, `und` when the input does not name it.
    pub subtitles: Vec<String>,
    /// Sentences for the user: damage, losses, an early end.
    pub warnings: Vec<String>,
}
