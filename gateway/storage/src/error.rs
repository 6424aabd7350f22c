//! What can go wrong between a key and its bytes.

use std::io;

/// Why the store could not do what it was asked. The text names the object and never holds a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The storage URL is not one this crate understands.
    #[error(
        "storage URL: {0}; use file:///absolute/folder or s3://bucket/prefix?endpoint=http://host:port&region=name"
    )]
    Url(String),
    /// The key could escape the store or would mean different things in a folder and a bucket.
    #[error(
        "storage key {0:?} is not valid: use segments of letters, digits and ._=- joined by single slashes, none starting with a dot"
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
    /// The local file system said no.
    #[error("cannot {action} {object:?}: {source}")]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The key or path it was done to.
        object: String,
        /// What the file system said.
        source: io::Error,
    },
    /// The S3 service said no.
    #[error("cannot {action} object {key:?} in the bucket: {source}")]
    Bucket {
        /// What was being done, as a verb.
        action: &'static str,
        /// The object.
        key: String,
        /// What the service said.
        source: object_store::Error,
    },
}

impl StoreError {
    /// An I/O error with its object; a missing file is [`StoreError::NotFound`] whatever was being done.
    pub(crate) fn io(action: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(object),
            _ => Self::Io { action, object, source },
        }
    }

    /// A bucket error with its key, told apart in the same way.
    pub(crate) fn bucket(action: &'static str, key: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound(key.to_owned()),
            source => Self::Bucket { action, key: key.to_owned(), source },
        }
    }
}
