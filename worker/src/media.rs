//! Converts one media file: probe, decide, copy or encode each stream, write an MP4 that browsers can stream.
//!
//! Knows files, not jobs. Runs in the sandboxed child process, because the input is untrusted.

mod audio;
mod beside;
mod chapter;
mod charset;
mod choice;
mod clock;
mod codec_name;
mod codecs;
mod copy;
mod decision;
mod decoder;
mod encode;
mod encoder_thread;
mod error;
mod event;
mod ffi;
mod filter;
mod fragment;
mod hardware;
mod input;
mod join;
mod ladder;
mod mux;
mod open;
mod orientation;
mod original;
mod pictures;
mod piece;
mod pipeline;
mod plan;
mod probe;
mod progress;
pub(crate) mod sentences;
mod shape;
mod sound;
mod source;
mod subtitle;
mod summary;
mod task;
mod threads;
mod timeline;
mod video;
mod webvtt;

use std::path::Path;

use ffmpeg_next as ff;

pub use beside::{Text, TextTask};
pub use chapter::Chapter;
pub use decision::{Decision, Reason};
pub use error::MediaError;
pub use event::Event;
pub use hardware::{Encoder, Method};
pub use input::Input;
pub(crate) use input::{MAX_ANSWER, RangeRequest};
pub use join::{JoinTask, JoinTrack, Joined};
pub use ladder::{ChunkTask, Size, Span};
pub use original::{Original, OriginalAudio, OriginalVideo};
pub use pictures::{Photo, Pictures, PicturesTask, Sprites};
pub use piece::Piece;
pub use plan::{MediaPlan, WebFrom};
pub use progress::Progress;
pub use sound::{Sound, SoundTask};
pub use summary::Summary;
pub use task::{Task, run};
pub use webvtt::Subtitle;

/// Initialises FFmpeg. Its messages of level warning and above go to stderr. Codecs use so many threads; 0: as many as
/// there are processors, within bounds. Pictures are made by the device at this path, where it can. To be called before
/// the process is confined, because the drivers of a device are loaded here.
///
/// # Errors
/// FFmpeg cannot be initialised.
pub fn init(threads: usize, device: Option<&Path>) -> Result<(), MediaError> {
    threads::choose(threads);
    ff::init().map_err(|error| MediaError::output("start FFmpeg", error))?;
    ff::log::set_level(ff::log::Level::Warning);
    ffi::limit_allocations();
    hardware::open(device);
    Ok(())
}
