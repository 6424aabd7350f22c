//! Jobs: units of background work, claimed under a lease and fenced by their attempt.
//!
//! ```text
//!                       a parent succeeds                 claim_jobs
//!  enqueue ──► blocked ───────────────────► available ◄────────────────► running ──► succeeded
//!     │           │ ▲                        │  ▲  ▲    fail_job, rescue    │ │         complete_job
//!     └───────────┼─┼────────────────────────┼──┘  │    (attempts left),    │ └──► dead
//!                 │ └──── depend_job ────────┤     │    hand_back_job       │       fail_job, rescue (none left)
//!                 │                          │     │                        │
//!                 └───────► cancelled ◄──────┴─────┼────────────────────────┘
//!   cancel_job, a parent is dead   │               │   fail_job, hand_back_job, rescue after cancel_job
//!                                  └── retry_job ──┘
//!                              (dead and cancelled)
//! ```
//!
//! A job's row moves between three tables: waiting (blocked or available), running, finished. Whoever moves it holds
//! its row lock, so a statement sees it in exactly one of them. The number of the attempt only ever grows, whatever road
//! the job takes, and each call of a worker names it: who has lost the job hears so (55000).
//!
//! What every job goes through is done below SQL ([`row`]), where the tables allow it and the transaction is READ COMMITTED;
//! those functions are no SECURITY DEFINER, because to begin one takes as long as their work, and become the owner
//! only for what is left to SQL.

mod cancel;
mod claim;
mod claim_index;
mod claim_rows;
mod complete;
mod dependency;
mod enqueue;
mod error;
mod fail;
mod kind_limit;
mod lease;
mod policy_cache;
mod position;
mod project_limit;
mod promote_due;
mod request;
mod restore_children;
mod result_set;
mod retry;
mod row;
pub(crate) mod sql_helpers;
mod unique_key;

use crate::pg::error::sql;
use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Result, required};

/// Puts a job into the queue and answers its identifier.
///
/// Higher priorities run first. With `unique_key`, the job that has the key is answered instead of making a second: while
/// it lives, and with `unique_for` at least for so long. With `depends_on`, the job waits until all of those have
/// succeeded; when one dies or is cancelled, `on_dead` says whether this one is cancelled or stays blocked.
/// Errors: 22023 malformed argument, P0002 no such parent, 55000 a parent is dead or cancelled.
#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "named arguments of an SQL function")]
fn enqueue_job(
    kind: Option<&str>,
    payload: Option<Jsonb>,
    priority: default!(Option<i32>, 0),
    run_at: default!(Option<TimestampWithTimeZone>, "now()"),
    max_attempts: default!(Option<i32>, 5),
    unique_key: default!(Option<&str>, "NULL"),
    depends_on: default!(Option<Vec<Option<i64>>>, "'{}'"),
    node_id: default!(Option<Uuid>, "NULL"),
    project_id: default!(Option<Uuid>, "NULL"),
    capability: default!(Option<&str>, "NULL"),
    unique_for: default!(Option<Interval>, "NULL"),
    on_dead: default!(Option<&str>, "'cancel'"),
) -> sql::Result<i64> {
    Ok(enqueue::enqueue(enqueue::Request {
        kind: required(kind, "kind")?,
        payload: required(payload, "payload")?,
        priority: priority.unwrap_or(0),
        run_at,
        max_attempts: required(max_attempts, "max_attempts")?,
        unique_key,
        unique_for,
        depends_on: all_given(depends_on.unwrap_or_default(), "depends_on")?,
        on_dead: required(on_dead, "on_dead")?,
        node: node_id,
        capability,
        project: project_id,
    })?)
}

/// The work of enqueue_jobs: a job for each payload, their identifiers in the same order.
///
/// An array and no set, because a set would leave and enter the function for each row. Errors: 22023 malformed argument.
#[pg_extern]
fn enqueue_batch(
    kind: Option<&str>,
    payloads: Option<Vec<Option<Jsonb>>>,
    priority: Option<i32>,
    run_at: Option<Timestamp>,
    max_attempts: Option<i32>,
    project_id: Option<Uuid>,
) -> sql::Result<Vec<i64>> {
    Ok(enqueue::enqueue_all(enqueue::Batch {
        kind: required(kind, "kind")?,
        payloads: required(payloads, "payloads")?,
        priority: priority.unwrap_or(0),
        run_at,
        max_attempts: required(max_attempts, "max_attempts")?,
        project: project_id,
    })?)
}

/// Takes up to `max` due jobs of these kinds for `worker`, highest priority first, then longest due.
///
/// The jobs are the worker's until `lease_until`; heartbeats extend that. `attempt` must come with every later call.
/// Jobs whose lease ran out are rescued on the way. Jobs pinned to a node or a capability go only to callers that name it.
/// Errors: 22023 empty worker, kinds, max or lease.
#[pg_extern]
fn claim_jobs(
    worker: Option<&str>,
    kinds: Option<Vec<Option<String>>>,
    max: default!(Option<i32>, 1),
    lease: default!(Option<Interval>, "'30 s'"),
    node_id: default!(Option<Uuid>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
) -> sql::Result<result_set::Jobs> {
    Ok(result_set::Jobs(claim::claim(request(worker, kinds, max, lease, node_id, capabilities)?)?))
}

/// complete_job and claim_jobs in one call, hence one commit for a job: what a busy worker does between two jobs.
///
/// Errors: 55000 this attempt has lost its lease, then nothing is claimed either; 22023 as claim_jobs.
#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "named arguments of an SQL function")]
fn finish_and_claim(
    job_id: Option<i64>,
    attempt: Option<i32>,
    result: Option<Jsonb>,
    worker: Option<&str>,
    kinds: Option<Vec<Option<String>>>,
    max: default!(Option<i32>, 1),
    lease: default!(Option<Interval>, "'30 s'"),
    node_id: default!(Option<Uuid>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
) -> sql::Result<result_set::Jobs> {
    complete::complete(required(job_id, "job_id")?, required(attempt, "attempt")?, result)?;
    Ok(result_set::Jobs(claim::claim(request(worker, kinds, max, lease, node_id, capabilities)?)?))
}

/// Extends the lease by its length and records progress: 'continue', or 'cancel' when the job should stop.
///
/// `progress` is 0 to 1; NULL leaves progress or detail as they are.
/// Errors: 22023 progress out of range, 55000 this attempt has lost its lease.
#[pg_extern]
fn heartbeat_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    progress: default!(Option<f32>, "NULL"),
    detail: default!(Option<Jsonb>, "NULL"),
) -> sql::Result<&'static str> {
    Ok(lease::heartbeat(required(job_id, "job_id")?, required(attempt, "attempt")?, progress, detail)?)
}

/// Finishes a job as succeeded and unblocks what waited for it. Errors: 55000 this attempt has lost its lease.
#[pg_extern]
fn complete_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    result: default!(Option<Jsonb>, "NULL"),
) -> sql::Result<()> {
    Ok(complete::complete(required(job_id, "job_id")?, required(attempt, "attempt")?, result)?)
}

/// complete_job for many jobs at once: answers those that were completed.
///
/// The others' leases are lost, and nothing happens to them. Errors: 22023 not one attempt, or result, for each job.
#[pg_extern]
fn complete_jobs(
    job_ids: Option<Vec<Option<i64>>>,
    attempts: Option<Vec<Option<i32>>>,
    results: default!(Option<Vec<Option<Jsonb>>>, "NULL"),
) -> sql::Result<SetOfIterator<'static, i64>> {
    let jobs = all_given(required(job_ids, "job_ids")?, "job_ids")?;
    let attempts = all_given(required(attempts, "attempts")?, "attempts")?;
    Ok(SetOfIterator::new(complete::complete_all(jobs, attempts, results)?))
}

/// Ends an attempt that failed and answers the new state: 'available' (it runs again later), 'dead' or 'cancelled'.
///
/// Jobs that wait for a dead or cancelled one are cancelled, unless they were to block.
/// Errors: 55000 this attempt has lost its lease.
#[pg_extern]
fn fail_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    error: Option<&str>,
    retryable: default!(Option<bool>, "true"),
) -> sql::Result<&'static str> {
    Ok(fail::fail(
        required(job_id, "job_id")?,
        required(attempt, "attempt")?,
        required(error, "error")?,
        retryable.unwrap_or(true),
    )?)
}

/// Gives a running job back, for a worker that stops: 'available' at once for others, or 'cancelled' if that was asked.
///
/// The attempt does not count as failed; `reason`, if given, is kept with the errors.
/// Errors: 55000 this attempt has lost its lease.
#[pg_extern]
fn hand_back_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    reason: default!(Option<&str>, "NULL"),
) -> sql::Result<&'static str> {
    Ok(fail::hand_back(required(job_id, "job_id")?, required(attempt, "attempt")?, reason)?)
}

/// Stops a job: a waiting one is 'cancelled' at once, a running one is told with its next heartbeat ('cancelling').
///
/// Errors: P0002 no such job, 55000 it has finished.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn cancel_job(job_id: Option<i64>) -> sql::Result<&'static str> {
    Ok(cancel::cancel(required(job_id, "job_id")?)?)
}

/// Brings a dead or cancelled job back, with so many attempts more, or lets one that waits for its time run now.
///
/// Jobs that were cancelled because it had died come back too, and wait for it as before.
/// Errors: P0002 no such job, 55000 it is blocked, running or has succeeded, 23505 another job has its key now.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn retry_job(job_id: Option<i64>, attempts: default!(Option<i32>, 5)) -> sql::Result<()> {
    Ok(retry::retry(required(job_id, "job_id")?, required(attempts, "attempts")?)?)
}

/// Makes a job that nobody has claimed wait for further jobs.
///
/// Errors: P0002 no such job, 55000 the job has been claimed, or a parent is dead, 22023 the jobs would wait in a circle.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn depend_job(job_id: Option<i64>, depends_on: Option<Vec<Option<i64>>>) -> sql::Result<()> {
    let parents = all_given(required(depends_on, "depends_on")?, "depends_on")?;
    Ok(dependency::depend(required(job_id, "job_id")?, &parents)?)
}

/// Takes every job whose lease ran out away from its worker and answers how many there were.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn rescue_jobs() -> sql::Result<i32> {
    Ok(lease::rescue()?)
}

/// Makes jobs whose time has come claimable and answers how many; claims and the wake-up process do so in time.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn release_due_jobs() -> sql::Result<i32> {
    Ok(promote_due::release()?)
}

fn request<'a>(
    worker: Option<&'a str>,
    kinds: Option<Vec<Option<String>>>,
    max: Option<i32>,
    lease: Option<Interval>,
    node: Option<Uuid>,
    capabilities: Option<Vec<Option<String>>>,
) -> Result<request::ClaimRequest<'a>> {
    Ok(request::ClaimRequest {
        worker: required(worker, "worker")?,
        kinds: all_given(required(kinds, "kinds")?, "kinds")?,
        max: required(max, "max")?,
        lease: required(lease, "lease")?,
        node,
        capabilities: all_given(capabilities.unwrap_or_default(), "capabilities")?,
    })
}

/// Refuses an array with a null in it.
fn all_given<T>(values: Vec<Option<T>>, argument: &str) -> Result<Vec<T>> {
    let given = |value: Option<T>| match value {
        Some(value) => Ok(value),
        None => required(None, &format!("an element of {argument}")),
    };
    values.into_iter().map(given).collect()
}
