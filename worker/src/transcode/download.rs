//! A local copy of an upload that lies in a bucket.

use std::path::Path;

use futures::StreamExt;
use nebula_storage::Store;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::io_failure;
use crate::queue::Failure;

/// Copies `size` bytes of an object into a new file.
pub(super) async fn download(store: &Store, key: &str, size: u64, path: &Path) -> Result<(), Failure> {
    let write_failed = |error: std::io::Error| io_failure("write the download", &error);
    let mut file = File::create(path).await.map_err(write_failed)?;
    let mut chunks = store.read(key, 0..size);
    while let Some(chunk) = chunks.next().await {
        file.write_all(&chunk?).await.map_err(write_failed)?;
    }
    file.flush().await.map_err(write_failed)
}
