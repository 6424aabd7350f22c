//! The trash: files that are deleted for good, by their people or because they have been in it for long.

use std::net::IpAddr;
use std::time::Duration;

use nebula_storage::Store;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Account;
use crate::database::Database;
use crate::database::trash::{self as database, OldFile};
use crate::domain::file::storage_prefix;
use crate::error::{ApiError, UNAVAILABLE};
use crate::files::marker::Marker;

/// How often the trash is looked through.
const INTERVAL: Duration = Duration::from_secs(60);

/// Deletes the row of a file, with `from_trash` only if it is there, then its bytes if no other file has them.
/// Bytes that cannot be deleted now are deleted later by [`super::leftovers`].
pub(crate) async fn purge(
    connections: &Database,
    store: &Store,
    account: &Account,
    (file_id, from_trash): (Uuid, bool),
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let content_id = database::content_of(&connections.client().await?, account, file_id).await?;
    let statement = async {
        // Given back before the objects go, which takes long in a bucket.
        let client = connections.client().await?;
        database::purge(&client, account, file_id, from_trash, address).await
    };
    delete(store, content_id, statement).await
}

/// Deletes what has been in the trash for `age`; answers the number of files.
async fn purge_old(connections: &Database, store: &Store, age: Duration) -> Result<usize, ApiError> {
    let files = database::old(&connections.client().await?, age).await?;
    for OldFile { file_id, content_id } in &files {
        let statement = async { database::purge_old(&connections.client().await?, *file_id, age).await };
        delete(store, *content_id, statement).await?;
    }
    Ok(files.len())
}

/// Runs a statement that deletes the row of a file, then deletes the objects that it answers.
async fn delete(
    store: &Store,
    content_id: Uuid,
    statement: impl Future<Output = Result<Vec<String>, ApiError>>,
) -> Result<(), ApiError> {
    // Without room for a marker the file is deleted all the more: that makes room.
    let marker = Marker::create(store, content_id).await;
    // A statement outside a transaction commits by itself: no new reader can find the bytes from here on.
    let keys = match statement.await {
        Ok(keys) => keys,
        Err(error) => {
            // A statement whose answer did not arrive may have deleted the row.
            if error.meaning() != UNAVAILABLE
                && let Ok(marker) = marker
            {
                marker.settled().await;
            }
            return Err(error);
        }
    };
    let mut is_complete = true;
    for key in &keys {
        if let Err(error) = store.delete(key).await {
            is_complete = false;
            tracing::error!(%key, %error, "the bytes of a deleted file are left in the store for now");
        }
    }
    // A worker that was killed may have left unfinished renditions beside them.
    if !keys.is_empty()
        && let Err(error) = store.delete_prefix(&storage_prefix(content_id)).await
    {
        is_complete = false;
        tracing::error!(%content_id, %error, "the folder of a deleted file is left in the store for now");
    }
    if let Ok(marker) = marker
        && is_complete
    {
        marker.settled().await;
    }
    Ok(())
}

/// Empties the trash of what has been in it for `age`, now and from time to time, until `stopping` is
/// cancelled.
pub(crate) fn start_emptying(
    connections: Database,
    store: Store,
    age: Duration,
    stopping: CancellationToken,
) {
    let emptying = async move {
        loop {
            match purge_old(&connections, &store, age).await {
                Ok(0) => sleep(INTERVAL).await,
                Ok(count) => tracing::info!(count, "deleted files that had been in the trash for long"),
                // The next look finds the same.
                Err(error) => {
                    tracing::debug!(%error, "cannot look through the trash yet");
                    sleep(INTERVAL).await;
                }
            }
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(emptying).await });
}
