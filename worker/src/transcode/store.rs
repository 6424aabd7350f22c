//! Puts the output into the store.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use nebula_storage::Store;
use tokio::time::timeout;
use uuid::Uuid;

use super::stopped;
use crate::queue::{Context, Failure, Job};

/// How long a job that is told to stop tries to delete what it may have stored.
const DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// The attempt is part of the key, so that a worker that lost its lease can never overwrite the next
/// attempt's output.
pub(super) fn output_key(content_id: Uuid, job: i64, attempt: i32) -> String {
    format!("files/{content_id}/web-{job}-{attempt}.mp4")
}

/// Deletes the outputs of earlier attempts, which a failed attempt cannot always do itself. One listing, however
/// many attempts there were: a job that was postponed for a day has had thousands.
pub(super) async fn delete_earlier(store: &Store, content_id: Uuid, job: &Job) -> Result<(), Failure> {
    let stored: Vec<_> = store.list(&format!("files/{content_id}")).try_collect().await?;
    for object in stored.iter().filter(|object| is_earlier(&object.key, content_id, job.id, job.attempt)) {
        store.delete(&object.key).await?;
    }
    Ok(())
}

/// Whether an object is the output of an attempt before this one; that of a later attempt belongs to a worker
/// that took the job over.
fn is_earlier(key: &str, content_id: Uuid, job: i64, attempt: i32) -> bool {
    let number = key
        .strip_prefix(&format!("files/{content_id}/web-{job}-"))
        .and_then(|rest| rest.strip_suffix(".mp4"));
    number.and_then(|number| number.parse::<i32>().ok()).is_some_and(|number| number < attempt)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outputs_of_earlier_attempts_of_the_same_job_count_as_earlier() {
        let content = Uuid::from_u128(7);
        for (job, attempt, earlier) in [(4, 2, true), (4, 3, false), (4, 4, false), (44, 2, false)] {
            assert_eq!(
                is_earlier(&output_key(content, job, attempt), content, 4, 3),
                earlier,
                "{job} {attempt}"
            );
        }
        assert!(!is_earlier(&format!("files/{content}/original"), content, 4, 3), "the upload");
    }
}
