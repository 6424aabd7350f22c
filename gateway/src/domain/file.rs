//! Files: looked up and deleted.

use std::net::IpAddr;

use nebula_api::file::File;
use nebula_storage::Store;
use uuid::Uuid;

use crate::database::Database;
use crate::database::file as database;
use crate::error::{ApiError, UNAVAILABLE};
use crate::files::marker::Marker;

/// The storage prefix of an upload and of everything that is made from it.
pub(crate) fn storage_prefix(content_id: Uuid) -> String {
    format!("files/{content_id}")
}

/// One file, if the account sees it; else fails with 404.
pub(crate) async fn find(connections: &Database, account_id: Uuid, file_id: Uuid) -> Result<File, ApiError> {
    let client = connections.client().await?;
    let mut found = database::list(&client, account_id, None, Some(file_id)).await?;
    found.pop().ok_or_else(|| {
        ApiError::not_found(format!("there is no file {file_id}")).hint("List files: GET /api/files.")
    })
}

/// Deletes the row of a file, then its bytes if no other file has them. Bytes that cannot be deleted now are
/// deleted later by [`super::leftovers`].
pub(crate) async fn delete(
    connections: &Database,
    store: &Store,
    account_id: Uuid,
    file_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let client = connections.client().await?;
    let content_id = database::content(&client, account_id, file_id, Some("original")).await?.content_id;
    // Without room for a marker the file is deleted all the more: that makes room.
    let marker = Marker::create(store, content_id).await;
    // A statement outside a transaction commits by itself: no new reader can find the bytes from here on.
    let keys = match database::delete(&client, account_id, file_id, address).await {
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
