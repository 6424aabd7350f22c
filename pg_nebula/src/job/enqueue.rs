//! Putting jobs into the queue.

use pgrx::Uuid;
use pgrx::prelude::*;

use super::place::{Place, place};
use super::{dependency, key};
use crate::error::{Error, Result};
use crate::jsonb::Jsonb;
use crate::plan::Plan;
use crate::wakeup::{self, Action};

/// Largest payload in bytes; bulk belongs into object storage.
const MAX_PAYLOAD: usize = 1 << 20;

pub(super) struct Request<'a> {
    pub(super) kind: &'a str,
    pub(super) payload: Jsonb,
    pub(super) priority: i32,
    pub(super) run_at: Option<TimestampWithTimeZone>,
    pub(super) max_attempts: i32,
    pub(super) unique_key: Option<&'a str>,
    pub(super) unique_for: Option<Interval>,
    pub(super) depends_on: Vec<i64>,
    pub(super) on_dead: &'a str,
    pub(super) node: Option<Uuid>,
    pub(super) capability: Option<&'a str>,
    pub(super) project: Option<Uuid>,
}

pub(super) fn enqueue(request: Request<'_>) -> Result<i64> {
    static NEXT: Plan = Plan::new("SELECT nextval('nebula.job_id_seq')");
    check(&request)?;
    let plain = request.unique_key.is_none() && request.depends_on.is_empty();
    let (mut number, mut blocked_by) = (None, 0);
    if !plain {
        // What points to the job is made before it.
        let job =
            NEXT.first(&[], |row| row.need(1))?.ok_or_else(|| Error::broken_promise("job identifier"))?;
        if let Some(key) = request.unique_key
            && let Some(taken) = key::take(key, job, request.unique_for)?
        {
            return Ok(taken);
        }
        blocked_by = dependency::attach(job, &request.depends_on, request.on_dead)?;
        number = Some(job);
    }
    let project = request.project;
    let place = insert(request, number, blocked_by)?;
    place.announce()?;
    wakeup::job_event(project, place.key.job, Action::Enqueue)?;
    Ok(place.key.job)
}

/// Writes the row; without a number it takes the next.
fn insert(request: Request<'_>, number: Option<i64>, blocked_by: i32) -> Result<Place> {
    static INSERT: Plan = Plan::new(concat!(
        "INSERT INTO nebula.job_waiting
                (job_id, kind, payload, project_id, priority, run_at, ready, max_attempts, blocked_by, on_dead, node_id,
                 capability, unique_key)
         VALUES (coalesce($1, nextval('nebula.job_id_seq')), $2, $3, $4, $5, coalesce($6, now()),
                 $8 = 0 AND coalesce($6, now()) <= now(), $7, $8, $9, $10, $11, $12)
         RETURNING ",
        place!()
    ));
    let values = [
        number.into(),
        request.kind.into(),
        request.payload.into(),
        request.project.into(),
        request.priority.into(),
        request.run_at.into(),
        request.max_attempts.into(),
        blocked_by.into(),
        request.on_dead.into(),
        request.node.into(),
        request.capability.into(),
        request.unique_key.into(),
    ];
    INSERT.first(&values, Place::read)?.ok_or_else(|| Error::broken_promise("job"))
}

fn check(request: &Request<'_>) -> Result<()> {
    check_kind(request.kind)?;
    check_numbers(request.priority, request.max_attempts)?;
    if request.payload.len() > MAX_PAYLOAD {
        return Err(Error::bad_argument(
            format!(
                "the payload of a \"{}\" job has {} bytes, more than {MAX_PAYLOAD}",
                request.kind,
                request.payload.len()
            ),
            "Put bulk into object storage and its key into the payload.",
        ));
    }
    if !["cancel", "block"].contains(&request.on_dead) {
        return Err(Error::bad_argument(
            format!("on_dead is \"{}\"", request.on_dead),
            "Give 'cancel' or 'block': what becomes of the job when one it depends on dies.",
        ));
    }
    if let Some(capability) = request.capability
        && (capability.is_empty() || capability.len() > 63)
    {
        return Err(Error::bad_argument(
            format!("capability has {} bytes", capability.len()),
            "Give 1 to 63 bytes, for example 'gpu', or null for none.",
        ));
    }
    key::check(request.unique_key, request.unique_for)
}

/// Refuses what cannot name a kind of job.
pub(super) fn check_kind(kind: &str) -> Result<()> {
    let good = kind.starts_with(|c: char| c.is_ascii_lowercase())
        && kind.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c))
        && kind.len() <= 63;
    if good {
        return Ok(());
    }
    Err(Error::bad_argument(
        format!("\"{kind}\" is no kind of job"),
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
