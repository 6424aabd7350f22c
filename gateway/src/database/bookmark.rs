//! Bookmarks: where accounts stopped in files.

use nebula_api::bookmark::{Bookmark, NewBookmark};
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Notes where the account is in a file. Fails with 404.
pub(crate) async fn set(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    bookmark: NewBookmark,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.set_bookmark(nebula.actor($1), $2, $3, $4)";
    query_one(client, sql, &[&actor, &file_id, &bookmark.seconds, &bookmark.duration]).await.map(drop)
}

/// Forgets where the account is in a file.
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.drop_bookmark(nebula.actor($1), $2)", &[&actor, &file_id])
        .await
        .map(drop)
}

/// Files that the account has begun and not finished, the last played first.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    max: i32,
) -> Result<Vec<Bookmark>, ApiError> {
    let sql = "SELECT * FROM nebula.list_bookmarks(nebula.actor($1), $2, $3)";
    map_rows(&query(client, sql, &[&actor, &project_id, &max]).await?, |row| {
        let duration: f64 = row.try_get("duration")?;
        Ok(Bookmark {
            file_id: row.try_get("file_id")?,
            project_id: row.try_get("project_id")?,
            folder: row.try_get("folder")?,
            name: row.try_get("name")?,
            kind: row.try_get("kind")?,
            content_type: row.try_get("content_type")?,
            seconds: row.try_get("seconds")?,
            duration: (duration > 0.0).then_some(duration),
            updated_at: row.try_get("updated_at")?,
        })
    })
}
