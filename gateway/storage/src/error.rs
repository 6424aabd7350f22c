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

/// Codes in the answers of S3 services that are full or over a quota: AWS and Ceph, MinIO, Garage and others.
const FULL_CODES: [&str; 5] = [
    "QuotaExceeded",
    "BucketQuotaExceeded",
    "StorageFull",
    "InsufficientStorage",
    "507 Insufficient Storage",
];

impl StoreError {
    /// Whether the store has no room: a disk that is full, out of inodes or read-only, a quota that is used
    /// up.
    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Io { source, .. } => crate::is_no_room(source),
            Self::Bucket { source, .. } => {
                let text = source.to_string();
                FULL_CODES.iter().any(|code| text.contains(code))
            }
            _ => false,
        }
    }

    /// Whether the fault is the store's, not that of the object: it passes when the store is well again.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Bucket { .. } => true,
            Self::Io { source, .. } => {
                crate::is_no_room(source)
                    || matches!(
                        source.kind(),
                        io::ErrorKind::StaleNetworkFileHandle
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::NotConnected
                    )
            }
            _ => false,
        }
    }

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

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn refused(answer: &str) -> StoreError {
        let source = format!("Server returned non-2xx status code: {answer}").into();
        StoreError::bucket("store", "a", object_store::Error::Generic { store: "S3", source })
    }

    #[test]
    fn a_bucket_that_is_full_or_over_its_quota_is_told_from_one_that_does_not_answer() {
        for answer in [
            "403 Forbidden: <Error><Code>QuotaExceeded</Code></Error>",
            "507 Insufficient Storage: <Error><Code>XMinioStorageFull</Code></Error>",
            "400 Bad Request: <Error><Code>XMinioAdminBucketQuotaExceeded</Code></Error>",
        ] {
            assert!(refused(answer).is_no_room() && refused(answer).is_outage(), "{answer}");
        }
        let away = refused("503 Service Unavailable");
        assert!(!away.is_no_room() && away.is_outage());
    }

    #[test]
    fn a_disk_that_is_full_over_a_quota_or_read_only_has_no_room() {
        let of = |errno: Errno| StoreError::io("store", "a", errno.into());
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS] {
            assert!(of(errno).is_no_room() && of(errno).is_outage(), "{errno:?}");
        }
        assert!(!of(Errno::ACCESS).is_no_room() && !of(Errno::NOENT).is_outage());
    }
}
