//! Jobs: listing, cancelling, retrying.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nebula_api::job::Job;
use tokio_postgres::Row;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, free_json, map_rows, query, query_one, query_opt};
use crate::error::ApiError;

/// Conditions of a list of jobs; `None` leaves a condition out.
#[derive(Debug, Default)]
pub(crate) struct JobQuery<'a> {
    pub(crate) project_id: Option<Uuid>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) state: Option<&'a str>,
    /// Only jobs older than this one, for paging.
    pub(crate) before: Option<i64>,
}

/// Newest jobs first, of the projects the account sees; at most `max`.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    wanted: &JobQuery<'_>,
    max: i32,
) -> Result<Vec<Job>, ApiError> {
    let sql = "SELECT * FROM nebula.list_jobs(actor => nebula.actor($1), project_id => $2, max => $3, kind => $4, \
               state => $5, before => $6)";
    let JobQuery { project_id, kind, state, before } = wanted;
    map_rows(&query(client, sql, &[&actor, project_id, &max, kind, state, before]).await?, read_job)
}

/// How many jobs the account sees in each state.
pub(crate) async fn count(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    kind: Option<&str>,
) -> Result<BTreeMap<String, i64>, ApiError> {
    let sql = "SELECT state, jobs FROM nebula.count_jobs(nebula.actor($1), $2, $3)";
    let rows = query(client, sql, &[&actor, &project_id, &kind]).await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get("jobs")?))).collect()
}

/// One job, or `None` when there is none that the account sees.
pub(crate) async fn find(
    client: &impl GenericClient,
    actor: &Account,
    job_id: i64,
) -> Result<Option<Job>, ApiError> {
    let sql = "SELECT * FROM nebula.list_jobs(actor => nebula.actor($1), job_id => $2)";
    Ok(query_opt(client, sql, &[&actor, &job_id]).await?.as_ref().map(read_job).transpose()?)
}

/// A change of a job that its project's members may make.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    Cancel,
    Retry,
}

/// Cancels a job, or lets a dead or cancelled one run again; returns its state: `cancelled`, `cancelling`
/// while a worker still runs it, or `available`. Fails with 404 no such job in the account's projects, 409 it
/// has finished, or is neither dead nor cancelled.
pub(crate) async fn change(
    client: &impl GenericClient,
    change: Change,
    actor: &Account,
    job_id: i64,
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let sql = match change {
        Change::Cancel => "SELECT nebula.cancel_job_for(nebula.actor($1), $2, $3)",
        Change::Retry => "SELECT 'available' FROM nebula.retry_job_for(nebula.actor($1), $2, $3)",
    };
    Ok(query_one(client, sql, &[&actor, &job_id, &address]).await?.try_get(0)?)
}

fn read_job(row: &Row) -> Result<Job, tokio_postgres::Error> {
    Ok(Job {
        job_id: row.try_get("job_id")?,
        kind: row.try_get("kind")?,
        state: row.try_get("state")?,
        project_id: row.try_get("project_id")?,
        payload: free_json(row, "payload")?.unwrap_or_default(),
        priority: row.try_get("priority")?,
        attempt: row.try_get("attempt")?,
        max_attempts: row.try_get("max_attempts")?,
        worker: row.try_get("worker")?,
        progress: row.try_get("progress")?,
        detail: free_json(row, "detail")?,
        result: free_json(row, "result")?,
        errors: free_json(row, "errors")?.unwrap_or_default(),
        enqueued_at: row.try_get("enqueued_at")?,
        run_at: row.try_get("run_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        cancel_requested: row.try_get("cancel_requested")?,
    })
}
