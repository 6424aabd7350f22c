//! The work of one media process.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::beside::{self, TextTask};
use super::error::MediaError;
use super::event::Event;
use super::hardware::Encoder;
use super::input::Input;
use super::join::{self, JoinTask};
use super::ladder::{self, ChunkTask};
use super::pictures::{self, PicturesTask, photo};
use super::pipeline;
use super::plan;
use super::sound::{self, SoundTask};

/// The work of a media process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    /// One MP4 that browsers stream.
    Convert,
    /// A plan of all renditions.
    Plan,
    /// A chunk of the picture in several sizes, as pieces.
    Chunk(ChunkTask),
    /// All sounds, as pieces.
    Sound(SoundTask),
    /// Poster, small pictures, and subtitles as text.
    Pictures(PicturesTask),
    /// A preview of a picture.
    Photo,
    /// Subtitles beside a film as text.
    Text(TextTask),
    /// One MP4 from the pieces in a folder beside the upload.
    Join(JoinTask),
}

impl Task {
    /// Whether the task may use a device for pictures. Others do not open one: its driver may fail or hang, and starts
    /// threads.
    #[must_use]
    pub fn may_use_device(&self) -> bool {
        match self {
            Self::Plan => true,
            Self::Chunk(task) => task.method.encoder != Encoder::Software || task.method.hardware_decode,
            Self::Convert
            | Self::Sound(_)
            | Self::Pictures(_)
            | Self::Photo
            | Self::Text(_)
            | Self::Join(_) => false,
        }
    }
}

/// Does a task; `output` is the file to write, or names the folder of the files, and `pieces` the folder of those to
/// join. Answers what it made, whose type depends on the task.
///
/// # Errors
/// The input cannot be used, or the output cannot be written.
pub fn run(
    task: &Task,
    input: &Input,
    pieces: Option<&Path>,
    output: &Path,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Value, MediaError> {
    let folder = output.parent().ok_or_else(|| MediaError::transient("the output has no folder"))?;
    match task {
        Task::Convert => {
            let summary = pipeline::convert(input, output, &mut |progress| tell(Event::Progress(progress)))?;
            Ok(json!(summary))
        }
        Task::Plan => Ok(json!(plan::plan(input, &mut |progress| tell(Event::Progress(progress)))?)),
        Task::Chunk(task) => {
            let mut report = |progress| tell(Event::Progress(progress));
            Ok(json!(ladder::encode(input, folder, task, &mut report)?))
        }
        Task::Pictures(task) => {
            let mut report = |progress| tell(Event::Progress(progress));
            Ok(json!(pictures::make(input, folder, task, &mut report)?))
        }
        Task::Photo => Ok(json!(photo::make(input, folder)?)),
        Task::Text(task) => Ok(json!(beside::convert(input, folder, task)?)),
        Task::Sound(task) => sound::encode(input, folder, task, tell).map(|()| Value::Null),
        Task::Join(task) => {
            let pieces = pieces.ok_or_else(|| MediaError::transient("there is no folder of pieces"))?;
            let mut report = |progress| tell(Event::Progress(progress));
            Ok(json!(join::join(input, pieces, output, task, &mut report)?))
        }
    }
}
