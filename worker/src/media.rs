//! What happens to one media file: probe, decide, copy or convert, write an MP4 that browsers can stream.
//!
//! Knows files, not jobs. It runs in the sandboxed child process, because the bytes it parses come from anyone.

mod audio;
mod clock;
mod copy;
mod decision;
mod decoder;
mod ffi;
mod filter;
mod mux;
mod pipeline;
mod probe;
mod progress;
mod subtitle;
mod video;

use std::fmt;

use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

pub use decision::{Decision, Reason};
pub use pipeline::convert;
pub use progress::Progress;

/// What was made, and why it was made that way; becomes the job's result and the rendition's detail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How much had to be done.
    pub decision: Decision,
    /// Every reason against a plain copy; empty for a remux.
    pub reasons: Vec<Reason>,
    /// Length of the output in seconds.
    pub duration_seconds: f64,
    /// Width in pixels as displayed, without a picture `None`.
    pub width: Option<u32>,
    /// Height in pixels as displayed.
    pub height: Option<u32>,
    /// Codec of the picture in the output.
    pub video_codec: Option<String>,
    /// Codec of the first audio track in the output.
    pub audio_codec: Option<String>,
    /// Number of audio tracks in the output.
    pub audio_tracks: usize,
    /// Language of each subtitle track in the output, `und` when the input does not say.
    pub subtitles: Vec<String>,
    /// What a user may want to know: damage, losses, an early end. Sentences.
    pub warnings: Vec<String>,
}

/// Why there is no output, in a sentence a person can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaError {
    /// The sentence.
    pub sentence: String,
    /// Whether trying again with the same input is pointless.
    pub permanent: bool,
}

impl MediaError {
    /// The input itself is the problem.
    pub(crate) fn permanent(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), permanent: true }
    }

    /// The machine is the problem: full disk, no memory.
    pub(crate) fn transient(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), permanent: false }
    }

    /// A failure on our side of the pipeline while doing `action`; short of resources is worth another try.
    fn output(action: &str, error: ff::Error) -> Self {
        Self::transient(format!("cannot {action}: {error}"))
    }

    /// A failure caused by the input while doing `action`, unless memory is what was missing.
    fn input(action: &str, error: ff::Error) -> Self {
        let permanent = error != ff::Error::Other { errno: ff::error::ENOMEM };
        Self { sentence: format!("cannot {action}: {error}"), permanent }
    }
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for MediaError {}

/// Readies the libraries: their own messages go to stderr, warnings and worse.
pub fn init() -> Result<(), MediaError> {
    ff::init().map_err(|error| MediaError::output("start FFmpeg", error))?;
    ff::log::set_level(ff::log::Level::Warning);
    ffi::limit_allocations();
    Ok(())
}
