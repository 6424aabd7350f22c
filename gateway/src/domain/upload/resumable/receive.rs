//! One request's bytes to the end of an upload.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::super::receive_error;
use super::Turn;
use super::request::Checksum;
use crate::error::{ApiError, CHECKSUM, TOO_LARGE};
use crate::files::upload::partial::Appending;
use crate::files::upload::receive::{BATCH_SIZE, ReceiveError};

/// A request that is asked to give way does so after this much silence: its client has lost the connection,
/// and comes again on another.
const GIVE_WAY: Duration = Duration::from_secs(2);

/// How many bytes may come.
pub(super) struct Limits<'a> {
    /// Name of the file, for words.
    pub(super) name: &'a str,
    /// The offset that the upload may not exceed.
    pub(super) end: u64,
    /// Bytes that the request announces.
    pub(super) promised: Option<u64>,
}

/// Writes a body to the end of an upload. What came before an error is kept.
pub(super) async fn receive<E>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    turn: &Turn,
    appending: Appending,
    limits: &Limits<'_>,
) -> Result<Appending, ApiError> {
    let (begin, mut end, mut failure) = (appending.offset, appending.offset, None);
    let mut writing = spawn_blocking(move || Ok(appending));
    let (mut batch, mut batch_size, mut is_asked) = (Vec::new(), 0, false);
    let interrupted = |end| {
        let error = ReceiveError::Interrupted { arrived: end - begin, promised: limits.promised };
        receive_error(limits.name, error)
    };
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.next() => chunk,
            () = turn.asked.notified(), if !is_asked => {
                is_asked = true;
                continue;
            }
            () = sleep(GIVE_WAY), if is_asked => {
                failure = Some(interrupted(end));
                break;
            }
        };
        let Some(chunk) = chunk else { break };
        let Ok(chunk) = chunk else {
            failure = Some(interrupted(end));
            break;
        };
        if end + chunk.len() as u64 > limits.end {
            failure = Some(too_long(limits.name, limits.end));
            break;
        }
        end += chunk.len() as u64;
        batch_size += chunk.len();
        batch.push(chunk);
        if batch_size >= BATCH_SIZE {
            let written = written(limits.name, writing).await?;
            let full = std::mem::take(&mut batch);
            batch_size = 0;
            writing = spawn_blocking(move || written.write(full));
        }
    }
    let appending = written(limits.name, writing).await?;
    let appending = written(limits.name, spawn_blocking(move || appending.write(batch))).await?;
    failure.map_or(Ok(appending), Err)
}

async fn written(
    name: &str,
    writing: tokio::task::JoinHandle<Result<Appending, ReceiveError>>,
) -> Result<Appending, ApiError> {
    let written = writing.await.map_err(|error| ApiError::internal(&error))?;
    written.map_err(|error| receive_error(name, error))
}

pub(super) fn verify(mut appending: Appending, expected: Option<&Checksum>) -> Result<Appending, ApiError> {
    if let (Some(hasher), Some(expected)) = (&mut appending.checksum, expected) {
        let digest = hasher.finish().map_err(|error| ApiError::internal(&error))?;
        if *digest != *expected.expected {
            return Err(ApiError::new(CHECKSUM, "the bytes were damaged on the way: their checksum differs")
                .hint("Send them again, from the same offset."));
        }
    }
    Ok(appending)
}

pub(super) fn too_long(name: &str, end: u64) -> ApiError {
    let detail = format!("more bytes came than the {end} that \"{name}\" may have");
    ApiError::new(TOO_LARGE, detail).hint("Begin another upload with the right Upload-Length.")
}
