//! The error of a Syncthing that cannot be used.

use crate::error::{Code, Error};

/// `reason` is a sentence about Syncthing.
pub(super) fn unusable(reason: impl Into<String>) -> Error {
    Error::new(Code::Protocol, reason)
}
