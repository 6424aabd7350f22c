//! Converts one media file: probe, decide, copy or encode each stream, write an MP4 that browsers can stream.
//!
//! Knows files, not jobs. Runs in the sandboxed child process, because the input is untrusted.

mod audio;
mod clock;
mod copy;
mod decision;
mod decoder;
mod encode;
mod error;
mod ffi;
mod filter;
mod mux;
mod orientation;
mod pipeline;
mod probe;
mod progress;
mod subtitle;
mod summary;
mod video;

use ffmpeg_next as ff;

pub use decision::{Decision, Reason};
pub use error::MediaError;
pub use pipeline::convert;
pub use progress::Progress;
pub use summary::Summary;

/// Initialises FFmpeg. Its messages of level warning and above go to stderr.
///
/// # Errors
/// FFmpeg cannot be initialised.
pub fn init() -> Result<(), MediaError> {
    ff::init().map_err(|error| MediaError::output("start FFmpeg", error))?;
    ff::log::set_level(ff::log::Level::Warning);
    ffi::limit_allocations();
    Ok(())
}
