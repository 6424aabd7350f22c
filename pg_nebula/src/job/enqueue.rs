//! Putting jobs into the queue.

use pgrx::prelude::*;
use pgrx::{Uuid, direct_function_call};

use super::place::Place;
use super::{dependency, key};
use crate::error::{Error, Result};
use crate::instant::Instant;
use crate::jsonb::Jsonb;
use crate::map;
use crate::plan::Plan;
use crate::table::{self, Table, Written};
use crate::wakeup::head::Key;
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
    check(&request)?;
    let plain = request.unique_key.is_none() && request.depends_on.is_empty();
    let (mut number, mut blocked_by) = (None, 0);
    if !plain {
        // What points to the job is made before it.
        let job = next_number()?;
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

static WAITING: Table = Table::new(
    c"job_waiting",
    &[
        c"job_id",
        c"kind",
        c"payload",
        c"project_id",
        c"priority",
        c"run_at",
        c"ready",
        c"attempt",
        c"max_attempts",
        c"blocked_by",
        c"on_dead",
        c"node_id",
        c"capability",
        c"unique_key",
        c"errors",
        c"enqueued_at",
    ],
);

/// Writes the row; without a number it takes the next.
fn insert(request: Request<'_>, number: Option<i64>, blocked_by: i32) -> Result<Place> {
    let now = map::transaction_start();
    let run_at = request.run_at.map_or(now, i64::from);
    let job = number.map_or_else(next_number, Ok)?;
    let place = Place {
        kind: request.kind.to_owned(),
        key: Key { rank: -request.priority, run_at, job },
        ready: blocked_by == 0 && run_at <= now,
        blocked_by,
        pinned: request.node.is_some() || request.capability.is_some(),
    };
    let written = WAITING.insert(&[
        job.into_datum(),
        request.kind.into_datum(),
        request.payload.clone().into_datum(),
        request.project.into_datum(),
        request.priority.into_datum(),
        Instant(run_at).into_datum(),
        place.ready.into_datum(),
        0_i32.into_datum(),
        request.max_attempts.into_datum(),
        blocked_by.into_datum(),
        request.on_dead.into_datum(),
        request.node.into_datum(),
        request.capability.into_datum(),
        request.unique_key.into_datum(),
        Jsonb::empty_array().into_datum(),
        Instant(now).into_datum(),
    ])?;
    if written != Written::Yes {
        insert_by_sql(request, &place)?;
    }
    Ok(place)
}

/// The same where the table has triggers of others; or whatever else stands against it is told by the server.
fn insert_by_sql(request: Request<'_>, place: &Place) -> Result<()> {
    static INSERT: Plan = Plan::new(
        "INSERT INTO nebula.job_waiting
                (job_id, kind, payload, project_id, priority, run_at, ready, max_attempts, blocked_by, on_dead, node_id,
                 capability, unique_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    );
    INSERT.run(&[
        place.key.job.into(),
        request.kind.into(),
        request.payload.into(),
        request.project.into(),
        request.priority.into(),
        Instant(place.key.run_at).into(),
        place.ready.into(),
        request.max_attempts.into(),
        place.blocked_by.into(),
        request.on_dead.into(),
        request.node.into(),
        request.capability.into(),
        request.unique_key.into(),
    ])
}

/// The next job identifier, as `nextval` gives it.
#[expect(unsafe_code, reason = "a function of the server is called as SQL would call it")]
fn next_number() -> Result<i64> {
    let sequence = table::relation(c"job_id_seq")?;
    // SAFETY: the function takes the identifier of a sequence.
    let next = unsafe { direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()]) };
    next.ok_or_else(|| Error::broken_promise("job identifier"))
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
