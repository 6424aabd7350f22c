//! From the network to a staging file: hashed on the way, never in memory as a whole, deleted unless it is
//! complete.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes collected per write on the blocking pool, enough to make the hand-over cheap. One batch is collected
/// while another is written, so an upload holds at most twice this.
const BATCH_SIZE: usize = 1024 * 1024;
/// Tells staging files of uploads from other files in the same folder.
const FILE_PREFIX: &str = "upload-";

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
    #[error("cannot write the staging file: {0}")]
    Disk(#[from] io::Error),
}

fn promise(promised: Option<u64>) -> String {
    promised.map(|promised| format!(" of {promised}")).unwrap_or_default()
}

/// Writes `body` to a new file in `staging`. An error, and a dropped future, delete the file.
pub(crate) async fn receive<E>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    staging: &Path,
    limits: UploadLimits,
) -> Result<Staged, ReceiveError> {
    let staging = staging.to_owned();
    let mut writing: JoinHandle<io::Result<Sink>> = spawn_blocking(move || Sink::create(&staging));
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

async fn finished(writing: JoinHandle<io::Result<Sink>>) -> io::Result<Sink> {
    writing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

struct Sink {
    file: NamedTempFile,
    hasher: Sha256,
}

impl Sink {
    /// A new private file. It is locked while it is open, so that [`sweep`] can tell it from an abandoned
    /// one.
    fn create(staging: &Path) -> io::Result<Self> {
        loop {
            let file = tempfile::Builder::new().prefix(FILE_PREFIX).tempfile_in(staging)?;
            file.as_file().lock()?;
            // A sweep may have taken the lock first and deleted the name.
            if file.as_file().metadata()?.nlink() > 0 {
                return Ok(Self { file, hasher: Sha256::new() });
            }
        }
    }

    fn write(mut self, batch: Vec<Bytes>) -> io::Result<Self> {
        for chunk in batch {
            self.hasher.update(&chunk);
            self.file.write_all(&chunk)?;
        }
        Ok(self)
    }
}

/// Deletes the staging files of killed gateways, whose locks ended with them; answers how many.
pub(crate) fn sweep(staging: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in staging.read_dir()? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(FILE_PREFIX) {
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

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

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
        let staged = receive(body, folder.path(), limits).await.unwrap();
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
        let short = receive(body(&[b"abc"]), folder.path(), promised(5)).await.unwrap_err();
        assert_eq!(short.to_string(), "the upload ended early: 3 bytes arrived of 5");
        let broken = body(&[b"abc"]).chain(stream::iter([Err(io::Error::other("reset"))]));
        let broken = receive(broken, folder.path(), UploadLimits::default()).await.unwrap_err();
        assert_eq!(broken.to_string(), "the upload ended early: 3 bytes arrived");
        let large = receive(body(&[b"abcdef", b"ghi"]), folder.path(), promised(9)).await.unwrap_err();
        assert!(matches!(large, ReceiveError::TooLarge { max: 8 }), "{large}");
        let nowhere =
            receive(body(&[b"abc"]), Path::new("/nonexistent"), UploadLimits::default()).await.unwrap_err();
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
            let path = folder.path().to_owned();
            let receiving =
                tokio::spawn(async move { receive(body, &path, UploadLimits::default()).await.map(drop) });
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
    async fn a_sweep_deletes_only_unlocked_staging_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("upload-abandoned"), "half").unwrap();
        std::fs::write(folder.path().join("someone-elses"), "half").unwrap();
        let staged = receive(body(&[b"abc"]), folder.path(), UploadLimits::default()).await.unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert!(staged.file.path().exists());
        assert_eq!(files(folder.path()), 2);
    }
}
