//! From the network to a staging file: hashed on the way, never in memory as a whole, deleted unless it is
//! complete, and never larger than the room above the disk's reserve.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use nebula_storage::{Disk, NoRoom};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes collected per write on the blocking pool, enough to make the hand-over cheap. One batch is collected
/// while another is written, so an upload holds at most twice this.
pub(crate) const BATCH_SIZE: usize = 1024 * 1024;
/// Tells staging files of uploads from other files in the same folder.
const FILE_PREFIX: &str = "upload-";
/// Files that the store itself makes in the folder, and how old they are at least when their maker must be
/// gone. It holds a lock on most of them, but not from the first moment.
const STORE_PREFIXES: [&str; 2] = ["put-", "check-"];
const STORE_FILE_AGE: Duration = Duration::from_secs(3600);

/// Limits of one upload, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UploadLimits {
    /// By `Content-Length`; absent for a chunked body.
    pub(crate) promised: Option<u64>,
    pub(crate) max: Option<u64>,
}

/// A body that arrived whole. Dropping it deletes the file.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The bytes, on the file system of the store when that is a folder.
    pub(crate) file: NamedTempFile,
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The client went away or broke the protocol.
    #[error("the upload ended early: {arrived} bytes arrived{}", promise(*.promised))]
    Interrupted { arrived: u64, promised: Option<u64> },
    #[error("the upload is larger than the {max} bytes that are allowed")]
    TooLarge { max: u64 },
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("cannot write the staging file: {0}")]
    Disk(#[from] io::Error),
}

fn promise(promised: Option<u64>) -> String {
    promised.map(|promised| format!(" of {promised}")).unwrap_or_default()
}

/// Writes `body` to a new file in the folder of `staging`. An error, and a dropped future, delete the file.
///
/// The first chunk is asked for only after room was taken for all that is announced.
pub(crate) async fn receive<E>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    staging: &Disk,
    limits: UploadLimits,
) -> Result<Staged, ReceiveError> {
    let staging = staging.clone();
    let created = finished(spawn_blocking(move || Sink::create(staging, limits.promised))).await?;
    let mut writing = spawn_blocking(move || Ok(created));
    let (mut batch, mut batch_size, mut arrived) = (Vec::new(), 0, 0);
    // The next batch is collected while the last one is written.
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            return Err(ReceiveError::Interrupted { arrived, promised: limits.promised });
        };
        arrived += chunk.len() as u64;
        if let Some(max) = limits.max.filter(|max| arrived > *max) {
            return Err(ReceiveError::TooLarge { max });
        }
        batch_size += chunk.len();
        batch.push(chunk);
        if batch_size >= BATCH_SIZE {
            let sink = finished(writing).await?;
            let full = std::mem::take(&mut batch);
            batch_size = 0;
            writing = spawn_blocking(move || sink.write(full));
        }
    }
    if limits.promised.is_some_and(|promised| promised != arrived) {
        return Err(ReceiveError::Interrupted { arrived, promised: limits.promised });
    }
    let sink = finished(writing).await?;
    let sink = finished(spawn_blocking(move || sink.write(batch))).await?;
    Ok(Staged { file: sink.file, size: arrived, sha256: sink.hasher.finalize().into() })
}

async fn finished(writing: JoinHandle<Result<Sink, ReceiveError>>) -> Result<Sink, ReceiveError> {
    writing.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

struct Sink {
    file: NamedTempFile,
    hasher: Sha256,
    disk: Disk,
    written: u64,
    /// Bytes of the disk that are the file's already.
    allocated: u64,
}

impl Sink {
    /// A new private file, with room for all that is promised. It is locked while it is open, so that
    /// [`sweep`] can tell it from an abandoned one.
    fn create(disk: Disk, promised: Option<u64>) -> Result<Self, ReceiveError> {
        /// Held from the look at the room until it is taken, so that two uploads cannot both count on the
        /// same room.
        static TAKING_ROOM: Mutex<()> = Mutex::new(());
        let taking = TAKING_ROOM.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(refusal) = disk.room()?.refusal(promised.unwrap_or(0)) {
            return Err(refusal.into());
        }
        let file = locked_file(disk.folder())?;
        let allocated = promised.map_or(Ok(0), |size| allocate(file.as_file(), size))?;
        drop(taking);
        Ok(Self { file, hasher: Sha256::new(), disk, written: 0, allocated })
    }

    fn write(mut self, batch: Vec<Bytes>) -> Result<Self, ReceiveError> {
        let size = batch.iter().map(|chunk| chunk.len() as u64).sum();
        self.written += size;
        if self.written > self.allocated
            && let Some(refusal) = self.disk.room()?.refusal(size)
        {
            return Err(refusal.into());
        }
        for chunk in batch {
            self.hasher.update(&chunk);
            self.file.write_all(&chunk)?;
        }
        Ok(self)
    }
}

fn locked_file(staging: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new().prefix(FILE_PREFIX).tempfile_in(staging)?;
        file.as_file().lock()?;
        // A sweep may have taken the lock first and deleted the name.
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Takes room on the disk for a file without changing its size, so that quotas count and other programs see
/// that it is taken; answers how much. File systems that cannot do that take none.
fn allocate(file: &File, size: u64) -> io::Result<u64> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, size)) {
        Ok(()) => Ok(size),
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::ROFS)) => Err(error.into()),
        Err(_) => Ok(0),
    }
}

/// Deletes the staging files of killed gateways, whose locks ended with them; answers how many.
pub(crate) fn sweep(staging: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in staging.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_old_file_of_store = || {
            STORE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && is_older(&entry.path(), STORE_FILE_AGE)
        };
        if !name.starts_with(FILE_PREFIX) && !is_old_file_of_store() {
            continue;
        }
        // The file may have been moved just now; otherwise the next sweep tries again.
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() && std::fs::remove_file(entry.path()).is_ok() {
            swept += 1;
        }
    }
    Ok(swept)
}

/// Whether a file was last written so long ago; of a file that is gone it is not known.
pub(crate) fn is_older(path: &Path, age: Duration) -> bool {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|passed| passed >= age))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use nebula_storage::Reserve;

    use super::*;

    fn disk(folder: &tempfile::TempDir) -> Disk {
        Disk::new(folder.path(), Reserve::Bytes(0))
    }

    fn files(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    fn body(chunks: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, io::Error>> + Unpin + use<> {
        stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_body_is_hashed_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let chunk = Bytes::from(vec![b'a'; 70_000]);
        let body = stream::iter(std::iter::repeat_n(chunk, 100).map(Ok::<_, io::Error>));
        let limits = UploadLimits { promised: Some(7_000_000), max: Some(7_000_000) };
        let staged = receive(body, &disk(&folder), limits).await.unwrap();
        let written = std::fs::read(staged.file.path()).unwrap();
        assert!(written == vec![b'a'; 7_000_000]);
        assert_eq!(staged.size, 7_000_000);
        assert_eq!(staged.sha256, <[u8; 32]>::from(Sha256::digest(&written)));
        drop(staged);
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn failed_uploads_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let promised = |promised| UploadLimits { promised: Some(promised), max: Some(8) };
        let short = receive(body(&[b"abc"]), &disk(&folder), promised(5)).await.unwrap_err();
        assert_eq!(short.to_string(), "the upload ended early: 3 bytes arrived of 5");
        let broken = body(&[b"abc"]).chain(stream::iter([Err(io::Error::other("reset"))]));
        let broken = receive(broken, &disk(&folder), UploadLimits::default()).await.unwrap_err();
        assert_eq!(broken.to_string(), "the upload ended early: 3 bytes arrived");
        let large = receive(body(&[b"abcdef", b"ghi"]), &disk(&folder), promised(9)).await.unwrap_err();
        assert!(matches!(large, ReceiveError::TooLarge { max: 8 }), "{large}");
        let nowhere = Disk::new("/nonexistent", Reserve::Bytes(0));
        let nowhere = receive(body(&[b"abc"]), &nowhere, UploadLimits::default()).await.unwrap_err();
        assert!(matches!(nowhere, ReceiveError::Disk(_)), "{nowhere}");
    }

    #[test]
    fn a_dropped_upload_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        // Dropping a runtime waits for its blocking tasks.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let body =
                stream::iter([Ok::<_, io::Error>(Bytes::from(vec![0; BATCH_SIZE]))]).chain(stream::pending());
            let disk = disk(&folder);
            let receiving =
                tokio::spawn(async move { receive(body, &disk, UploadLimits::default()).await.map(drop) });
            while files(folder.path()) == 0 {
                tokio::task::yield_now().await;
            }
            receiving.abort();
            assert!(receiving.await.unwrap_err().is_cancelled());
        });
        drop(runtime);
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn nothing_is_read_of_a_body_for_which_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let untouched =
            || stream::poll_fn(|_| -> std::task::Poll<Option<io::Result<Bytes>>> { panic!("it was read") });
        let promised = |size| UploadLimits { promised: Some(size), max: None };
        let all = Disk::new(folder.path(), Reserve::Bytes(u64::MAX));
        for limits in [promised(1), UploadLimits::default()] {
            let error = receive(untouched(), &all, limits).await.unwrap_err();
            assert!(matches!(error, ReceiveError::NoRoom(_)), "{error}");
        }
        let error = receive(untouched(), &disk(&folder), promised(1 << 60)).await.unwrap_err();
        assert!(matches!(error, ReceiveError::NoRoom(_)), "{error}");
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn a_sweep_deletes_only_unlocked_staging_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("upload-abandoned"), "half").unwrap();
        std::fs::write(folder.path().join("someone-elses"), "half").unwrap();
        for (name, age) in [("put-fresh", Duration::ZERO), ("put-abandoned", 2 * STORE_FILE_AGE)] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        let staged = receive(body(&[b"abc"]), &disk(&folder), UploadLimits::default()).await.unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 2);
        assert!(staged.file.path().exists() && !folder.path().join("put-abandoned").exists());
        assert_eq!(files(folder.path()), 3);
    }
}
