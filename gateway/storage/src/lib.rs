//! Object storage: a folder by default, any S3 bucket by URL.
//!
//! Gateway and worker share this crate, so that keys and "stored" mean the same in both: an object is
//! complete, synced to disk, and visible under its key, or not there at all. An unfinished file has no key:
//! it stays in [`Store::staging`] until [`Store::put_file`] moves it.

mod bucket;
mod error;
mod folder;
mod key;
mod multipart;
mod room;
mod url;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

pub use error::StoreError;
pub use room::{Disk, Level, NoRoom, Reserve, ReserveError, Room, is_no_room};

use bucket::Bucket;
use folder::Folder;

/// The bytes of an object, in order; ends after the first error.
pub type ByteStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// An object of the store, as [`Store::list`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Key of the object.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was stored. In a folder this is when its bytes were written, shortly before.
    pub stored_at: SystemTime,
}

/// An object store; cheap to clone, all clones share one connection pool.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Folder(Folder),
    Bucket(Bucket),
}

impl Store {
    /// Opens `file:///absolute/folder` (created with mode 0700 when missing) or
    /// `s3://bucket[/prefix]?endpoint=http://host:port&region=…`, whose credentials come from the `AWS_*`
    /// environment so that the URL itself is no secret.
    ///
    /// Nothing is contacted yet for a bucket; ask [`Store::check`] for that.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let backend = match url::parse(url)? {
            url::Location::Folder(root) => Backend::Folder(Folder::open(root)?),
            url::Location::Bucket(location) => Backend::Bucket(Bucket::open(&location)?),
        };
        Ok(Self { backend })
    }

    /// Moves the finished local file at `path` into the store as `key`, replacing what was there. After `Ok`
    /// the bytes are durable and `path` is gone; after an error nothing is visible under a new `key`.
    pub async fn put_file(&self, key: &str, path: &Path) -> Result<(), StoreError> {
        key::validate(key)?;
        match &self.backend {
            Backend::Folder(folder) => folder.put_file(key, path).await,
            Backend::Bucket(bucket) => bucket.put_file(key, path).await,
        }
    }

    /// Streams the bytes `range` of `key`. Every problem, a missing key included, arrives as an item; a range
    /// that reaches past the end ends in [`StoreError::Truncated`], so a short answer is never taken for a
    /// whole one.
    pub fn read(&self, key: &str, range: Range<u64>) -> ByteStream {
        if let Err(error) = key::validate(key) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        match &self.backend {
            Backend::Folder(folder) => folder.read(key, range),
            Backend::Bucket(bucket) => bucket.read(key, range),
        }
    }

    /// The object as a local file, for readers that want to seek: `Some` for a folder, `None` for a bucket.
    /// The file need not exist, and must not be written to.
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        key::validate(key).ok()?;
        match &self.backend {
            Backend::Folder(folder) => Some(folder.path(key)),
            Backend::Bucket(_) => None,
        }
    }

    /// Size in bytes; [`StoreError::NotFound`] when there is no such object.
    pub async fn size(&self, key: &str) -> Result<u64, StoreError> {
        key::validate(key)?;
        match &self.backend {
            Backend::Folder(folder) => folder.size(key).await,
            Backend::Bucket(bucket) => bucket.size(key).await,
        }
    }

    /// Deletes one object. A missing one is no error, so that a clean-up can be repeated.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        key::validate(key)?;
        match &self.backend {
            Backend::Folder(folder) => folder.delete(key).await,
            Backend::Bucket(bucket) => bucket.delete(key).await,
        }
    }

    /// Deletes every object below `prefix`, which counts in whole segments: `files/1` means `files/1/…`,
    /// never `files/12`.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        key::validate(prefix)?;
        match &self.backend {
            Backend::Folder(folder) => folder.delete_prefix(prefix).await,
            Backend::Bucket(bucket) => bucket.delete_prefix(prefix).await,
        }
    }

    /// All objects below `prefix`, which counts in whole segments, in no certain order; ends after the first
    /// error. Objects that come or go meanwhile may be missing.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StoreError>> {
        if let Err(error) = key::validate(prefix) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        match &self.backend {
            Backend::Folder(folder) => folder.list(prefix),
            Backend::Bucket(bucket) => bucket.list(prefix),
        }
    }

    /// Ends uploads in parts that were begun so long ago that whoever made them must be gone; answers how many. In a
    /// folder there are none: what was not finished lies in [`Store::staging`].
    pub async fn abort_uploads(&self, age: Duration) -> Result<u64, StoreError> {
        match &self.backend {
            Backend::Folder(_) => Ok(0),
            Backend::Bucket(bucket) => bucket.abort_uploads(age).await,
        }
    }

    /// Writes and removes a small object; for readiness checks.
    pub async fn check(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Folder(folder) => folder.check().await,
            Backend::Bucket(bucket) => bucket.check().await,
        }
    }

    /// A private (0700) local folder for unfinished files. For a folder store it is on the store's own file
    /// system, so that [`Store::put_file`] is a rename; it is never visible as a key.
    pub fn staging(&self) -> PathBuf {
        match &self.backend {
            Backend::Folder(folder) => folder.staging(),
            Backend::Bucket(bucket) => bucket.staging(),
        }
    }
}
