//! The error of a conversion.

use ffmpeg_next as ff;

/// Why there is no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MediaError {
    /// A sentence for the user.
    pub message: String,
    /// Whether another attempt with the same input is pointless.
    pub permanent: bool,
}

impl MediaError {
    /// The input is the cause.
    pub(crate) fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: true }
    }

    /// The machine is the cause: full disk, no memory.
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: false }
    }

    /// `action` on the output failed, which another attempt may not repeat.
    pub(super) fn output(action: &str, error: ff::Error) -> Self {
        Self::transient(format!("cannot {action}: {error}"))
    }

    /// `action` on the input failed. The input is the cause, unless memory ran out.
    pub(super) fn input(action: &str, error: ff::Error) -> Self {
        let permanent = error != ff::Error::Other { errno: ff::error::ENOMEM };
        Self { message: format!("cannot {action}: {error}"), permanent }
    }
}
