//! Uploads under a name that a file of the same size has: their first bytes tell whether they are the same.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use nebula_storage::Store;

use super::{NamedFile, taken};
use crate::error::ApiError;

/// Bytes that are compared. Two films or pictures differ in their first ones, which describe them.
const COMPARED: u64 = 1024 * 1024;

/// Reads the first bytes of `body` and refuses it if those of the file are others; answers what was read, and
/// the rest. Bytes that differ later are refused when all are there.
pub(super) async fn compare<B, E>(
    store: &Store,
    name: &str,
    known: &NamedFile,
    mut body: B,
) -> Result<(VecDeque<Result<Bytes, E>>, B), ApiError>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut read = VecDeque::new();
    // A store that cannot be read must not keep an upload from trying.
    let mut stored = store.read(&known.storage_key, 0..known.size.min(COMPARED));
    let mut expected = Bytes::new();
    while let Some(chunk) = body.next().await {
        let Ok(arrived) = chunk else {
            read.push_back(chunk);
            break;
        };
        let mut left = arrived.clone();
        read.push_back(Ok(arrived));
        while !left.is_empty() {
            if expected.is_empty() {
                match stored.next().await {
                    Some(Ok(bytes)) => expected = bytes,
                    _ => return Ok((read, body)),
                }
            }
            let count = left.len().min(expected.len());
            if left.split_to(count) != expected.split_to(count) {
                return Err(taken(name));
            }
        }
    }
    Ok((read, body))
}

/// The body whole again.
pub(super) fn joined<E>(
    (read, rest): (VecDeque<Result<Bytes, E>>, impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> impl Stream<Item = Result<Bytes, E>> + Unpin {
    stream::iter(read).chain(rest)
}
