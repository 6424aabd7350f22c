//! Samples over time.

use chrono::{DateTime, Utc};
use nebula_api::series::Series;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query};
use crate::error::ApiError;

/// The samples that are asked for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// `None`: those of the server.
    pub(crate) project_id: Option<Uuid>,
    /// Empty: all.
    pub(crate) names: &'a [&'a str],
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
    /// Minutes that a sample is of: 1 or 15.
    pub(crate) step: i32,
}

/// Fails with 404 no such project, 403 not a member of it, or not an administrator.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    wanted: &Wanted<'_>,
) -> Result<Vec<Series>, ApiError> {
    let Wanted { project_id, names, from, to, step } = wanted;
    let sql = "SELECT * FROM nebula.list_series(nebula.actor($1), $2, $3, $4, $5, $6)";
    map_rows(&query(client, sql, &[&actor, project_id, names, from, to, step]).await?, |row| {
        Ok(Series {
            name: row.try_get("name")?,
            key: row.try_get("key")?,
            at: row.try_get("at")?,
            values: row.try_get("values")?,
        })
    })
}
