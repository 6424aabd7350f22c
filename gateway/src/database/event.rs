//! Events: the record, and what an account may see of live ones.

use std::collections::HashSet;
use std::fmt::Debug;

use chrono::{DateTime, Utc};
use nebula_api::event::{Change, Event};
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, free_json, map_rows, query, query_one};
use super::records::EventFilterRow;
use crate::error::ApiError;

/// Most events of one answer.
pub(crate) const MAX_EVENTS: i32 = 1000;

/// The events that are asked for; `None`: any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) project_id: Option<Uuid>,
    pub(crate) subject: Option<String>,
    pub(crate) subject_id: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

/// The part of the events that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    /// The newest, before this one if one is given.
    Newest(Option<i64>),
    /// The oldest after this one.
    After(i64),
    /// The events with these identifiers.
    Only(&'a [i64]),
}

/// Events of the projects the account sees.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    filter: &Filter,
    part: Part<'_>,
    max: i32,
) -> Result<Vec<Event>, ApiError> {
    let (before, after, event_ids) = match part {
        Part::Newest(before) => (before, None, None),
        Part::After(after) => (None, Some(after), None),
        Part::Only(only) => (None, None, Some(only)),
    };
    let row = EventFilterRow {
        project_id: filter.project_id,
        subject: filter.subject.as_deref(),
        subject_id: filter.subject_id.as_deref(),
        actor: filter.actor.as_deref(),
        action: filter.action.as_deref(),
        since: filter.from,
        until: filter.to,
        after,
        before,
        event_ids,
    };
    let ascending = !matches!(part, Part::Newest(_));
    let sql = "SELECT * FROM nebula.list_events(nebula.actor($1), $2, $3, $4)";
    map_rows(&query(client, sql, &[&actor, &row, &max, &ascending]).await?, |row| {
        Ok(Event {
            event_id: row.try_get("event_id")?,
            at: row.try_get("at")?,
            project_id: row.try_get("project_id")?,
            actor: row.try_get("actor")?,
            actor_kind: row.try_get("actor_kind")?,
            actor_id: row.try_get("actor_id")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            subject_id: row.try_get("subject_id")?,
            client: row.try_get("client")?,
            request_id: row.try_get("request_id")?,
            detail: free_json(row, "detail")?.unwrap_or_default(),
        })
    })
}

/// Records that an account was not allowed what it asked for, and how many requests like it were not recorded.
pub(crate) async fn refuse(
    client: &impl GenericClient,
    actor: &Account,
    route: &str,
    reason: &str,
    earlier: u64,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.refuse_request(nebula.actor($1), $2, $3, $4)";
    let earlier = i64::try_from(earlier).unwrap_or(i64::MAX);
    query_one(client, sql, &[&actor, &route, &reason, &earlier]).await.map(drop)
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
            event: row.try_get("event_id")?,
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
