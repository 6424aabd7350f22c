//! Putting jobs into the queue.

use nebula_core::job_event::JobAction;
use nebula_core::scan_hint::QueuePosition;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::new_job::{NewJob, NewJobs};
use super::request::MAX_JSON;
use super::{dependency, store, unique_key};
use crate::notify;
use crate::notify::timers;
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result, required, required_elements, sql};
use crate::pg::privilege::as_owner;
use crate::pg::session;

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
    let now = session::transaction_start();
    let mut job = NewJob {
        job: 0,
        kind: required(kind, "kind")?,
        payload: required(payload, "payload")?,
        project: project_id,
        priority: priority.unwrap_or(0),
        run_at: run_at.map_or(now, i64::from),
        max_attempts: required(max_attempts, "max_attempts")?,
        on_dead: "",
        node: node_id,
        capability,
        unique_key,
        ready: false,
        blocked_by: 0,
    };
    let parents = required_elements(depends_on.unwrap_or_default(), "depends_on")?;
    job.on_dead = required(on_dead, "on_dead")?;
    check(&job)?;
    unique_key::check(unique_key, unique_for)?;
    job.job = store::next_job()?;
    if unique_key.is_some() || !parents.is_empty() {
        match as_owner(|| link(&job, &parents, unique_for))? {
            Linked::KeyTaken(owner) => return Ok(owner),
            Linked::BlockedBy(parents) => job.blocked_by = parents,
        }
    }
    job.ready = job.blocked_by == 0 && job.run_at <= now;
    store::insert(&job)?;
    job.position().notify_available()?;
    notify::job_event(job.project, job.job, JobAction::Enqueue)?;
    Ok(job.job)
}

/// The rows written before the job itself.
enum Linked {
    /// This job has the unique key.
    KeyTaken(i64),
    /// It has to wait for so many jobs.
    BlockedBy(i32),
}

/// Takes the unique key of a new job and records what it waits for.
fn link(job: &NewJob<'_>, parents: &[i64], unique_for: Option<Interval>) -> Result<Linked> {
    if let Some(key) = job.unique_key
        && let Some(owner) = unique_key::take(key, job.job, unique_for)?
    {
        return Ok(Linked::KeyTaken(owner));
    }
    Ok(Linked::BlockedBy(dependency::add_parents(job.job, parents, job.on_dead)?))
}

// Returns an array, not a set: a set-returning function is entered again for each row.
#[pg_extern]
fn enqueue_batch(
    kind: Option<&str>,
    payloads: Option<Vec<Option<Jsonb>>>,
    priority: Option<i32>,
    run_at: Option<Timestamp>,
    max_attempts: Option<i32>,
    project_id: Option<Uuid>,
) -> sql::Result<Vec<i64>> {
    let (kind, payloads) = (required(kind, "kind")?, required(payloads, "payloads")?);
    let (priority, max_attempts) = (priority.unwrap_or(0), required(max_attempts, "max_attempts")?);
    check_kind(kind)?;
    check_numbers(priority, max_attempts)?;
    let payloads = check_payloads(kind, payloads)?;
    if payloads.is_empty() {
        return Ok(Vec::new());
    }
    let now = session::transaction_start();
    let run_at = run_at.map_or(now, |at| at.0);
    let jobs: Vec<i64> = payloads.iter().map(|_| store::next_job()).collect::<Result<_>>()?;
    let new = NewJobs {
        jobs,
        payloads,
        kind,
        project: project_id,
        priority,
        run_at,
        max_attempts,
        ready: run_at <= now,
    };
    store::insert_many(&new)?;
    notify_many(kind, priority, run_at)?;
    Ok(new.jobs)
}

/// Notifies workers and watchers, when this transaction commits, of many new jobs of a kind.
pub(super) fn notify_many(kind: &str, priority: i32, run_at: i64) -> Result<()> {
    if run_at <= session::transaction_start() {
        // None of them stands before this position, which has no identifier yet.
        let first = QueuePosition { rank: -priority, run_at, job: i64::MIN };
        notify::job_available(kind, Some(first))?;
    } else {
        timers::arm_due(run_at);
    }
    notify::many_events()
}

fn check(job: &NewJob<'_>) -> Result<()> {
    check_kind(job.kind)?;
    check_numbers(job.priority, job.max_attempts)?;
    if job.payload.len() > MAX_JSON {
        return Err(Error::bad_argument(
            format!(
                "the payload of a \"{}\" job has {} bytes, more than {MAX_JSON}",
                job.kind,
                job.payload.len()
            ),
            "Put bulk into object storage and its key into the payload.",
        ));
    }
    if !["cancel", "block"].contains(&job.on_dead) {
        return Err(Error::bad_argument(
            format!("on_dead is \"{}\"", job.on_dead),
            "Give 'cancel' or 'block': what becomes of the job when one it depends on dies.",
        ));
    }
    if let Some(capability) = job.capability
        && (capability.is_empty() || capability.len() > 63)
    {
        return Err(Error::bad_argument(
            format!("capability has {} bytes", capability.len()),
            "Give 1 to 63 bytes, for example 'gpu', or null for none.",
        ));
    }
    Ok(())
}

fn check_payloads(kind: &str, payloads: Vec<Option<Jsonb>>) -> Result<Vec<Jsonb>> {
    let count = payloads.len();
    let checked = payloads.into_iter().enumerate().map(|(index, payload)| {
        payload.filter(|payload| payload.len() <= MAX_JSON).ok_or_else(|| {
            Error::bad_argument(
                format!(
                    "payload {} of {count} of kind \"{kind}\" is null or has more than {MAX_JSON} bytes",
                    index + 1
                ),
                "Put bulk into object storage and its key into the payload.",
            )
        })
    });
    checked.collect()
}

/// Refuses names that are not allowed for a kind of job.
pub(super) fn check_kind(kind: &str) -> Result<()> {
    let good = kind.starts_with(|c: char| c.is_ascii_lowercase())
        && kind.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c))
        && kind.len() <= 63;
    if good {
        return Ok(());
    }
    Err(Error::bad_argument(
        format!("\"{kind}\" is not a valid job kind"),
        "Start with a lower-case letter, then up to 62 of a-z, 0-9, dots, underscores or dashes.",
    ))
}

/// Refuses numbers out of range.
pub(super) fn check_numbers(priority: i32, max_attempts: i32) -> Result<()> {
    if priority == i32::MIN {
        return Err(Error::bad_argument(
            format!("priority {priority} is out of range"),
            "Give a number above that; higher runs first.",
        ));
    }
    if !(1..=1000).contains(&max_attempts) {
        return Err(Error::bad_argument(
            format!("max_attempts {max_attempts} is out of range"),
            "Give a number from 1 to 1000.",
        ));
    }
    Ok(())
}
