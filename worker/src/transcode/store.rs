//! Puts the output into the store.

use std::path::Path;
use std::time::Duration;

use nebula_storage::Store;
use tokio::time::timeout;
use uuid::Uuid;

use super::stopped;
use crate::queue::{Context, Failure};

/// How long a job that is told to stop tries to delete what it may have stored.
const DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// The attempt is part of the key, so that a worker that lost its lease can never overwrite the next
/// attempt's output.
pub(super) fn output_key(file_id: Uuid, job: i64, attempt: i32) -> String {
    format!("files/{file_id}/web-{job}-{attempt}.mp4")
}

/// Stores the output. In a folder this is a rename, quicker than any stop; in a bucket it may take minutes.
pub(super) async fn put(store: &Store, key: &str, output: &Path, context: &Context) -> Result<(), Failure> {
    let putting = store.put_file(key, output);
    if store.local_path(key).is_some() {
        return Ok(putting.await?);
    }
    let reason = tokio::select! {
        put = putting => return Ok(put?),
        reason = context.stopped() => reason,
    };
    // The store may have completed the last request although its answer was not read.
    let _ = timeout(DELETE_TIMEOUT, store.delete(key)).await;
    Err(stopped(reason))
}
