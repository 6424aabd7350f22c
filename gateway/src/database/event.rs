//! Events: the record, and who may see what of the live ones.

use std::collections::HashSet;

use deadpool_postgres::GenericClient;
use nebula_api::event::Event;
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;

/// Newest events first, of the projects the account sees; `before` pages back.
///
/// # Errors
/// Those of the database.
pub async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Option<Uuid>,
    before: Option<i64>,
    max: i32,
) -> Result<Vec<Event>, ApiError> {
    let sql = "SELECT * FROM nebula.list_events($1, $2, $3, $4)";
    each(&rows(client, sql, &[&actor, &project_id, &before, &max]).await?, |row| {
        Ok(Event {
            event_id: row.try_get("event_id")?,
            at: row.try_get("at")?,
            project_id: row.try_get("project_id")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            subject_id: row.try_get("subject_id")?,
            detail: row.try_get("detail")?,
        })
    })
}

/// The projects an account sees now; none for one that is unknown or disabled.
///
/// # Errors
/// Those of the database.
pub async fn visible_projects(client: &impl GenericClient, actor: Uuid) -> Result<HashSet<Uuid>, ApiError> {
    let found = rows(client, "SELECT nebula.visible_projects($1)", &[&actor]).await?;
    Ok(each(&found, |row| row.try_get(0))?.into_iter().collect())
}

/// Whether the account is an administrator.
///
/// # Errors
/// 403 when it is not, 401 when it is unknown or disabled.
pub async fn require_admin(client: &impl GenericClient, actor: Uuid) -> Result<(), ApiError> {
    one(client, "SELECT nebula.require_admin($1)", &[&actor]).await.map(drop)
}
