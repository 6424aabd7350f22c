//! News of a running task.

use super::piece::Piece;
use super::progress::Progress;

/// News of a running task.
#[derive(Clone, Debug)]
pub enum Event {
    /// How far it is.
    Progress(Progress),
    /// A piece is complete.
    Piece(Piece),
}

impl Event {
    pub(super) fn progress(stage: &str, done: f64) -> Self {
        let progress = done.clamp(0.0, 1.0) as f32;
        Self::Progress(Progress { progress, fps: None, stage: stage.to_owned() })
    }
}
