//! Putting jobs into the queue.

use pgrx::Uuid;
use pgrx::prelude::*;

use super::dependency;
use crate::error::{Error, Result};
use crate::jsonb::Jsonb;
use crate::plan::Plan;
use crate::wakeup;

/// Largest payload in bytes; bulk belongs into object storage.
const MAX_PAYLOAD: usize = 1 << 20;

pub(super) struct Request<'a> {
    pub(super) kind: &'a str,
    pub(super) payload: Jsonb,
    pub(super) priority: i32,
    pub(super) run_at: Option<TimestampWithTimeZone>,
    pub(super) max_attempts: i32,
    pub(super) unique_key: Option<&'a str>,
    pub(super) depends_on: Vec<i64>,
    pub(super) node: Option<Uuid>,
    pub(super) project: Option<Uuid>,
}

pub(super) fn enqueue(request: Request<'_>) -> Result<i64> {
    static NEXT: Plan = Plan::new("SELECT nextval('nebula.job_id_seq')");
    static INSERT: Plan = Plan::new(
        "INSERT INTO nebula.job_waiting
                (job_id, kind, payload, project_id, priority, run_at, max_attempts, blocked_by, node_id, unique_key)
         VALUES ($1, $2, $3, $4, $5, coalesce($6, now()), $7, $8, $9, $10)
         RETURNING blocked_by = 0 AND run_at <= now()",
    );
    check(&request)?;
    let job = NEXT.first(&[], |row| row.need(1))?.ok_or_else(|| Error::broken_promise("job identifier"))?;
    if let Some(key) = request.unique_key
        && let Some(living) = take_key(key, job)?
    {
        return Ok(living);
    }
    let blocked_by = dependency::attach(job, request.depends_on)?;
    let available = INSERT.first(
        &[
            job.into(),
            request.kind.into(),
            request.payload.into(),
            request.project.into(),
            request.priority.into(),
            request.run_at.into(),
            request.max_attempts.into(),
            blocked_by.into(),
            request.node.into(),
            request.unique_key.into(),
        ],
        |row| row.need(1),
    )?;
    if available == Some(true) {
        wakeup::job_available(request.kind)?;
    }
    wakeup::job_event(request.project, job, "enqueue")?;
    Ok(job)
}

fn check(request: &Request<'_>) -> Result<()> {
    let kind = request.kind;
    let good = kind.starts_with(|c: char| c.is_ascii_lowercase())
        && kind.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
        && kind.len() <= 63;
    if !good {
        return Err(Error::bad_argument(
            format!("\"{kind}\" is no kind of job"),
            "Start with a lower-case letter, then up to 62 of a-z, 0-9, dots, underscores or dashes.",
        ));
    }
    if request.payload.len() > MAX_PAYLOAD {
        return Err(Error::bad_argument(
            format!(
                "the payload of this {kind} job has {} bytes, more than {MAX_PAYLOAD}",
                request.payload.len()
            ),
            "Put bulk into object storage and its key into the payload.",
        ));
    }
    if !(1..=1000).contains(&request.max_attempts) {
        return Err(Error::bad_argument(
            format!("max_attempts {} is out of range", request.max_attempts),
            "Give a number from 1 to 1000.",
        ));
    }
    match request.unique_key {
        Some(key) if key.is_empty() || key.len() > 1000 => Err(Error::bad_argument(
            format!("unique_key has {} bytes", key.len()),
            "Give 1 to 1000 bytes, or null for no key.",
        )),
        _ => Ok(()),
    }
}

/// Takes the key for `job`; answers the living job that has it instead.
fn take_key(key: &str, job: i64) -> Result<Option<i64>> {
    static TAKE: Plan = Plan::new(
        "INSERT INTO nebula.job_key (unique_key, job_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING job_id",
    );
    static OWNER: Plan = Plan::new("SELECT job_id FROM nebula.job_key WHERE unique_key = $1");
    // Its owner may finish between the two statements; then the key is free again.
    loop {
        if TAKE.hits(&[key.into(), job.into()])? {
            return Ok(None);
        }
        if let Some(owner) = OWNER.first(&[key.into()], |row| row.need(1))? {
            return Ok(Some(owner));
        }
    }
}
