//! Folders of files.

use std::net::IpAddr;

use nebula_api::folder::{Folder, MoveFolder};
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// The folders directly in a folder.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    folder: &str,
) -> Result<Vec<Folder>, ApiError> {
    let sql = "SELECT * FROM nebula.list_folders(nebula.actor($1), $2, $3)";
    map_rows(&query(client, sql, &[&actor, &project_id, &folder]).await?, |row| {
        Ok(Folder {
            folder: row.try_get("folder")?,
            files: row.try_get("files")?,
            size: row.try_get("size")?,
            uploaded_at: row.try_get("uploaded_at")?,
        })
    })
}

/// Moves or renames a folder with all that is below; answers the number of files. Fails with 404, 409 when a
/// name is taken there.
pub(crate) async fn relocate(
    client: &impl GenericClient,
    actor: &Account,
    moved: &MoveFolder,
    address: Option<IpAddr>,
) -> Result<i32, ApiError> {
    let sql = "SELECT nebula.move_folder(nebula.actor($1), $2, $3, $4, $5)";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&actor, &moved.project_id, &moved.folder, &moved.to, &address];
    Ok(query_one(client, sql, &values).await?.try_get(0)?)
}

/// Puts all files in a folder and below it into the trash; answers their number. Fails with 404.
pub(crate) async fn trash(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    folder: &str,
    address: Option<IpAddr>,
) -> Result<i32, ApiError> {
    let sql = "SELECT nebula.trash_folder(nebula.actor($1), $2, $3, $4)";
    Ok(query_one(client, sql, &[&actor, &project_id, &folder, &address]).await?.try_get(0)?)
}
