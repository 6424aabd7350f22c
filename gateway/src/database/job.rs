//! Jobs: listing, stopping, reviving.

use std::net::IpAddr;

use deadpool_postgres::GenericClient;
use nebula_api::job::Job;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{each, one, optional, rows};
use crate::ApiError;

/// Which jobs are asked for; `None` leaves a condition out.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// Of this project.
    pub project_id: Option<Uuid>,
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// In this state.
    pub state: Option<&'a str>,
    /// Older than this one, for paging.
    pub before: Option<i64>,
}

/// Newest jobs first, of the projects the account sees; at most `max`.
///
/// # Errors
/// Those of the database.
pub async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    wanted: &Wanted<'_>,
    max: i32,
) -> Result<Vec<Job>, ApiError> {
    let sql =
        "SELECT * FROM nebula.list_jobs(actor => $1, project_id => $2, max => $3, kind => $4, state => $5,
                                              before => $6)";
    let Wanted { project_id, kind, state, before } = wanted;
    each(&rows(client, sql, &[&actor, project_id, &max, kind, state, before]).await?, job)
}

/// One job, or `None` when there is none that the account sees.
///
/// # Errors
/// Those of the database.
pub async fn find(client: &impl GenericClient, actor: Uuid, job_id: i64) -> Result<Option<Job>, ApiError> {
    let sql = "SELECT * FROM nebula.list_jobs(actor => $1, job_id => $2)";
    Ok(optional(client, sql, &[&actor, &job_id]).await?.as_ref().map(job).transpose()?)
}

/// Stops a job; answers `cancelled`, or `cancelling` when a worker has to be told first.
///
/// # Errors
/// 404 no such job in the account's projects, 409 it has finished.
pub async fn cancel(
    client: &impl GenericClient,
    actor: Uuid,
    job_id: i64,
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let address = address.map(|address| address.to_string());
    let sql = "SELECT nebula.cancel_job_for($1, $2, $3::text::inet)";
    Ok(one(client, sql, &[&actor, &job_id, &address]).await?.try_get(0)?)
}

/// Lets a dead or cancelled job run again.
///
/// # Errors
/// 404 no such job in the account's projects, 409 it is neither dead nor cancelled.
pub async fn retry(
    client: &impl GenericClient,
    actor: Uuid,
    job_id: i64,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let address = address.map(|address| address.to_string());
    let sql = "SELECT nebula.retry_job_for($1, $2, $3::text::inet)";
    one(client, sql, &[&actor, &job_id, &address]).await.map(drop)
}

fn job(row: &Row) -> Result<Job, tokio_postgres::Error> {
    Ok(Job {
        job_id: row.try_get("job_id")?,
        kind: row.try_get("kind")?,
        state: row.try_get("state")?,
        project_id: row.try_get("project_id")?,
        payload: row.try_get("payload")?,
        priority: row.try_get("priority")?,
        attempt: row.try_get("attempt")?,
        max_attempts: row.try_get("max_attempts")?,
        worker: row.try_get("worker")?,
        progress: row.try_get("progress")?,
        detail: row.try_get("detail")?,
        result: row.try_get("result")?,
        errors: row.try_get("errors")?,
        enqueued_at: row.try_get("enqueued_at")?,
        run_at: row.try_get("run_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        cancel_requested: row.try_get("cancel_requested")?,
    })
}
