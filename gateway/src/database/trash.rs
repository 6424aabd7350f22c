//! The trash: files that can be restored, and their end.

use std::net::IpAddr;
use std::time::Duration;

use nebula_api::file::Place;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// The content of a file, also of one in the trash. Fails with 404.
pub(crate) async fn content_of(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
) -> Result<Uuid, ApiError> {
    let row =
        query_one(client, "SELECT nebula.content_of(nebula.actor($1), $2)", &[&actor, &file_id]).await?;
    Ok(row.try_get(0)?)
}

/// Puts a file into the trash, where it may be already. Fails with 404.
pub(crate) async fn add(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.trash_file(nebula.actor($1), $2, $3)";
    query_one(client, sql, &[&actor, &file_id, &address]).await.map(drop)
}

/// Takes a file out of the trash, to where it was or to another place. Fails with 404, 409 when its place is
/// taken or it is not there.
pub(crate) async fn restore(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    place: &Place,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.restore_file(nebula.actor($1), $2, $3, $4, $5)";
    query_one(client, sql, &[&actor, &file_id, &place.folder, &place.name, &address]).await.map(drop)
}

/// Deletes the row of a file, with `from_trash` only if it is there; answers the storage keys that no row
/// refers to once this has committed: none when another file has the same bytes. Fails with 404, 409 when it
/// is not in the trash.
pub(crate) async fn purge(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    from_trash: bool,
    address: Option<IpAddr>,
) -> Result<Vec<String>, ApiError> {
    let sql = "SELECT nebula.purge_file(nebula.actor($1), $2, $3, $4)";
    map_rows(&query(client, sql, &[&actor, &file_id, &from_trash, &address]).await?, |row| row.try_get(0))
}

/// A file that has been in the trash for long, and its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldFile {
    pub(crate) file_id: Uuid,
    pub(crate) content_id: Uuid,
}

/// Files that have been in the trash for `age`, at most a thousand.
pub(crate) async fn old(client: &impl GenericClient, age: Duration) -> Result<Vec<OldFile>, ApiError> {
    let sql = "SELECT * FROM nebula.old_trash(nebula.actor($1), $2 * interval '1 second')";
    map_rows(&query(client, sql, &[client.gateway(), &age.as_secs_f64()]).await?, |row| {
        Ok(OldFile { file_id: row.try_get("file_id")?, content_id: row.try_get("content_id")? })
    })
}

/// The same as [`purge`] for one of [`old`]; nothing if it was restored meanwhile.
pub(crate) async fn purge_old(
    client: &impl GenericClient,
    file_id: Uuid,
    age: Duration,
) -> Result<Vec<String>, ApiError> {
    let sql = "SELECT nebula.purge_old(nebula.actor($1), $2, $3 * interval '1 second')";
    map_rows(&query(client, sql, &[client.gateway(), &file_id, &age.as_secs_f64()]).await?, |row| {
        row.try_get(0)
    })
}
