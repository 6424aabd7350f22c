//! Errors of the store.

use std::io;

/// Why an operation failed. The message names the object and never contains a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An invalid storage URL.
    #[error(
        "storage URL: {0}; use file:///absolute/folder or \
         s3://bucket/prefix?endpoint=http://host:port&region=name"
    )]
    Url(String),
    /// A key that could leave the store, or would mean different objects in a folder and a bucket.
    #[error(
        "storage key {0:?} is not valid: use segments of letters, digits and ._=- joined by single \
         slashes, none starting with a dot"
    )]
    Key(String),
    /// No object has this key.
    #[error("no object {0:?} in the store")]
    NotFound(String),
    /// The object is shorter than the range that was asked for.
    #[error("object {key:?} ended {missing} bytes early")]
    Truncated {
        /// The object.
        key: String,
        /// How many bytes of the range do not exist.
        missing: u64,
    },
    /// An error of the local file system.
    #[error("cannot {action} {object:?}: {source}")]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// Key or path.
        object: String,
        /// The error.
        source: io::Error,
    },
    /// An error of the S3 service.
    #[error("cannot {action} object {key:?} in the bucket: {source}")]
    Bucket {
        /// The operation, as a verb.
        action: &'static str,
        /// The object.
        key: String,
        /// The error.
        source: object_store::Error,
    },
}

impl StoreError {
    /// An I/O error with its object; a missing file is [`StoreError::NotFound`] in every operation.
    pub(crate) fn io(action: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(object),
            _ => Self::Io { action, object, source },
        }
    }

    /// A bucket error with its key, likewise.
    pub(crate) fn bucket(action: &'static str, key: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound(key.to_owned()),
            source => Self::Bucket { action, key: key.to_owned(), source },
        }
    }
}
