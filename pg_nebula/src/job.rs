//! Jobs: units of background work, claimed under a lease and fenced by their attempt.
//!
//! A job's row moves between three tables: waiting (blocked or available), running, finished. Whoever moves it holds
//! its row lock, so a statement sees it in exactly one of them.

mod cancel;
mod claim;
mod dependency;
mod enqueue;
mod finish;
mod lease;

use pgrx::Uuid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result, required};
use crate::jsonb::Jsonb;
use crate::plan::Plan;

/// Puts a job into the queue and answers its identifier.
///
/// Higher priorities run first. With `unique_key`, a living job of that key is answered instead of making a second.
/// With `depends_on`, the job waits until all of those have succeeded.
/// Errors: 22023 malformed argument, P0002 no such parent, 55000 a parent is dead or cancelled.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
#[expect(clippy::too_many_arguments, reason = "named arguments of an SQL function")]
fn enqueue_job(
    kind: Option<&str>,
    payload: Option<Jsonb>,
    priority: default!(Option<i32>, 0),
    run_at: default!(Option<TimestampWithTimeZone>, "now()"),
    max_attempts: default!(Option<i32>, 5),
    unique_key: default!(Option<&str>, "NULL"),
    depends_on: default!(Option<Vec<i64>>, "'{}'"),
    node_id: default!(Option<Uuid>, "NULL"),
    project_id: default!(Option<Uuid>, "NULL"),
) -> std::result::Result<i64, ErrorReport> {
    Ok(enqueue::enqueue(enqueue::Request {
        kind: required(kind, "kind")?,
        payload: required(payload, "payload")?,
        priority: priority.unwrap_or(0),
        run_at,
        max_attempts: required(max_attempts, "max_attempts")?,
        unique_key,
        depends_on: depends_on.unwrap_or_default(),
        node: node_id,
        project: project_id,
    })?)
}

/// Takes up to `max` due jobs of these kinds for `worker`, highest priority first, then longest due.
///
/// The jobs are the worker's until `lease_until`; heartbeats extend that. `attempt` must come with every later call.
/// Jobs whose lease ran out are rescued on the way. Jobs pinned to a node go only to callers that name it.
/// Errors: 22023 empty worker, kinds, max or lease.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
#[expect(clippy::type_complexity, reason = "the shape of an SQL row")]
fn claim_jobs(
    worker: Option<&str>,
    kinds: Option<Vec<String>>,
    max: default!(Option<i32>, 1),
    lease: default!(Option<Interval>, "'30 s'"),
    node_id: default!(Option<Uuid>, "NULL"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(job_id, i64),
            name!(kind, String),
            name!(payload, Jsonb),
            name!(attempt, i32),
            name!(lease_until, TimestampWithTimeZone),
        ),
    >,
    ErrorReport,
> {
    let claimed = claim::claim(
        required(worker, "worker")?,
        required(kinds, "kinds")?,
        required(max, "max")?,
        required(lease, "lease")?,
        node_id,
    )?;
    Ok(TableIterator::new(
        claimed.into_iter().map(|job| (job.id, job.kind, job.payload, job.attempt, job.lease_until)),
    ))
}

/// Extends the lease by its length and records progress: 'continue', or 'cancel' when the job should stop.
///
/// `progress` is 0 to 1; NULL leaves progress or detail as they are.
/// Errors: 22023 progress out of range, 55000 this attempt has lost its lease.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn heartbeat_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    progress: default!(Option<f32>, "NULL"),
    detail: default!(Option<Jsonb>, "NULL"),
) -> std::result::Result<&'static str, ErrorReport> {
    Ok(lease::heartbeat(required(job_id, "job_id")?, required(attempt, "attempt")?, progress, detail)?)
}

/// Finishes a job as succeeded and unblocks what waited for it. Errors: 55000 this attempt has lost its lease.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn complete_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    result: default!(Option<Jsonb>, "NULL"),
) -> std::result::Result<(), ErrorReport> {
    Ok(finish::complete(required(job_id, "job_id")?, required(attempt, "attempt")?, result)?)
}

/// Ends an attempt that failed and answers the new state: 'available' (it runs again later), 'dead' or 'cancelled'.
///
/// Jobs that wait for a dead or cancelled one are cancelled. Errors: 55000 this attempt has lost its lease.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn fail_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    error: Option<&str>,
    retryable: default!(Option<bool>, "true"),
) -> std::result::Result<&'static str, ErrorReport> {
    Ok(finish::fail(
        required(job_id, "job_id")?,
        required(attempt, "attempt")?,
        required(error, "error")?,
        retryable.unwrap_or(true),
    )?)
}

/// Stops a job: a waiting one is 'cancelled' at once, a running one is told with its next heartbeat ('cancelling').
///
/// Errors: P0002 no such job, 55000 it has finished.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn cancel_job(job_id: Option<i64>) -> std::result::Result<&'static str, ErrorReport> {
    Ok(cancel::cancel(required(job_id, "job_id")?)?)
}

/// Takes every job whose lease ran out away from its worker and answers how many there were.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn rescue_jobs() -> std::result::Result<i32, ErrorReport> {
    Ok(lease::rescue()?)
}

/// Where a job is, or `None` for one that does not exist.
fn state_of(job: i64) -> Result<Option<String>> {
    static STATE: Plan = Plan::new(
        "SELECT CASE WHEN blocked_by > 0 THEN 'blocked' ELSE 'available' END FROM nebula.job_waiting WHERE job_id = $1
         UNION ALL SELECT 'running' FROM nebula.job_running WHERE job_id = $1
         UNION ALL SELECT state FROM nebula.job_finished WHERE job_id = $1",
    );
    STATE.first(&[job.into()], |row| row.need(1))
}

fn unknown(job: i64) -> Error {
    Error::new(
        Kind::Missing,
        format!("there is no job {job}"),
        "List jobs: SELECT job_id, kind, state FROM nebula.job_status.",
    )
}
