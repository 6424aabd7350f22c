//! The error of a conversion.

use ffmpeg_next as ff;
use rustix::io::Errno;

/// Why there is no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MediaError {
    /// A sentence for the user.
    pub message: String,
    /// Whether another attempt with the same input is pointless.
    pub permanent: bool,
    /// Whether there was no room for the output; another attempt succeeds when there is.
    pub no_room: bool,
}

impl MediaError {
    /// The input is the cause.
    pub(crate) fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: true, no_room: false }
    }

    /// The machine is the cause: no memory, a child that was killed.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: false, no_room: false }
    }

    /// The disk is the cause: full, over a quota, or read-only.
    pub(crate) fn no_room(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: false, no_room: true }
    }

    /// `action` on the output failed, which another attempt may not repeat.
    pub(super) fn output(action: &str, error: ff::Error) -> Self {
        const NO_ROOM: [Errno; 3] = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS];
        let message = format!("cannot {action}: {error}");
        match error {
            ff::Error::Other { errno } if NO_ROOM.iter().any(|full| full.raw_os_error() == errno) => {
                Self::no_room(message)
            }
            _ => Self::transient(message),
        }
    }

    /// `action` on the input failed. The input is the cause, unless memory ran out.
    pub(super) fn input(action: &str, error: ff::Error) -> Self {
        let permanent = error != ff::Error::Other { errno: ff::error::ENOMEM };
        Self { message: format!("cannot {action}: {error}"), permanent, no_room: false }
    }
}
