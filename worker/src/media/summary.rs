//! The description of the output.

use serde::{Deserialize, Serialize};

use ffmpeg_next as ff;

use super::decision::{Decision, Plan, Reason};
use super::probe::Probe;
use super::shape;

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
    /// Damage, losses, an early end, streams that were left out; parts of sentences.
    pub warnings: Vec<String>,
    /// Sentences for people: all that was done, and all that was left out.
    #[serde(default)]
    pub sentences: Vec<String>,
}

impl Summary {
    /// The summary of a conversion by `plan` into so many seconds.
    pub(super) fn of(probe: &Probe, plan: Plan, duration_seconds: f64, warnings: Vec<String>) -> Self {
        let name = |copied: bool, codec: ff::codec::Id, encoded: &str| match copied {
            true => codec.name().to_owned(),
            false => encoded.to_owned(),
        };
        let size = probe.video.as_ref().map(|stream| match plan.copy_video {
            true => shape::displayed_size(stream),
            false => shape::output_size(stream),
        });
        let first_audio = probe.audio.first().zip(plan.copy_audio.first());
        Self {
            decision: plan.decision,
            reasons: plan.reasons,
            duration_seconds,
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
            sentences: Vec::new(),
        }
    }
}
