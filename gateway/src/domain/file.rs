//! Files: looked up and deleted.

use std::net::IpAddr;

use nebula_api::file::File;
use nebula_storage::Store;
use uuid::Uuid;

use crate::database::Database;
use crate::database::file as database;
use crate::error::ApiError;

/// The storage prefix of everything that belongs to a file.
pub(crate) fn storage_prefix(file_id: Uuid) -> String {
    format!("files/{file_id}")
}

/// One file, if the account sees it; else fails with 404.
pub(crate) async fn find(connections: &Database, account_id: Uuid, file_id: Uuid) -> Result<File, ApiError> {
    let client = connections.client().await?;
    let mut found = database::list(&client, account_id, None, Some(file_id)).await?;
    found.pop().ok_or_else(|| {
        ApiError::not_found(format!("there is no file {file_id}")).hint("List files: GET /api/files.")
    })
}

/// Deletes the row of a file, then its bytes. Bytes that cannot be deleted are logged and left in the store.
pub(crate) async fn delete(
    connections: &Database,
    store: &Store,
    account_id: Uuid,
    file_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    // A statement outside a transaction commits by itself: no new reader can find the bytes from here on.
    let keys = database::delete(&connections.client().await?, account_id, file_id, address).await?;
    for key in keys {
        if let Err(error) = store.delete(&key).await {
            tracing::error!(%key, %error, "the bytes of a deleted file are left in the store");
        }
    }
    // A worker that was killed may have left unfinished renditions beside them.
    if let Err(error) = store.delete_prefix(&storage_prefix(file_id)).await {
        tracing::error!(%file_id, %error, "the folder of a deleted file is left in the store");
    }
    Ok(())
}
