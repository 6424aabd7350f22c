//! Events: the record, and what an account may see of live ones.

use std::collections::HashSet;
use std::fmt::Debug;

use nebula_api::event::{Change, Event};
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, free_json, map_rows, query, query_one};
use crate::error::ApiError;

/// Newest events first, of the projects the account sees; `before` pages back.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    before: Option<i64>,
    max: i32,
) -> Result<Vec<Event>, ApiError> {
    let sql = "SELECT * FROM nebula.list_events(nebula.actor($1), $2, $3, $4)";
    map_rows(&query(client, sql, &[&actor, &project_id, &before, &max]).await?, |row| {
        Ok(Event {
            event_id: row.try_get("event_id")?,
            at: row.try_get("at")?,
            project_id: row.try_get("project_id")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            subject_id: row.try_get("subject_id")?,
            detail: free_json(row, "detail")?.unwrap_or_default(),
        })
    })
}

/// The changes that are true of those that notifications told of; `hints` are payloads of channel
/// nebula_event.
pub(crate) async fn confirm(
    client: &impl GenericClient,
    hints: &[impl Serialize + Debug + Sync],
) -> Result<Vec<Change>, ApiError> {
    let rows = query(
        client,
        "SELECT * FROM nebula.confirm_changes(nebula.actor($1), $2)",
        &[client.gateway(), &Json(hints)],
    )
    .await?;
    map_rows(&rows, |row| {
        Ok(Change {
            project: row.try_get("project_id")?,
            subject: row.try_get("subject")?,
            id: row.try_get("subject_id")?,
            action: row.try_get("action")?,
        })
    })
}

/// The projects an account sees now; empty for an unknown or disabled account.
pub(crate) async fn visible_projects(
    client: &impl GenericClient,
    actor: &Account,
) -> Result<HashSet<Uuid>, ApiError> {
    let rows = query(client, "SELECT nebula.visible_projects(nebula.actor($1))", &[&actor]).await?;
    Ok(map_rows(&rows, |row| row.try_get(0))?.into_iter().collect())
}

/// `admin` or `member`; `None` for an unknown or disabled account.
pub(crate) async fn account_role(
    client: &impl GenericClient,
    actor: &Account,
) -> Result<Option<String>, ApiError> {
    Ok(query_one(client, "SELECT nebula.account_role(nebula.actor($1))", &[&actor]).await?.try_get(0)?)
}

/// Fails with 403 unless the account is an administrator, 401 if it is unknown or disabled.
pub(crate) async fn require_admin(client: &impl GenericClient, actor: &Account) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.require_admin(nebula.actor($1))", &[&actor]).await.map(drop)
}
