//! Putting jobs into the queue.

use crate::notify::timers;
use crate::pg::session;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::position::Place;
use super::row::{Cell, KEPT, WAITING};
use super::{dependency, unique_key};
use crate::direct::{InsertOutcome, Sequence};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;
use nebula_core::job_event::JobAction;
use nebula_core::scan_hint::QueuePosition;

use crate::notify;

static JOB: Sequence = Sequence::new(c"job_id_seq");

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
        let job = JOB.next()?;
        let taken = as_owner(|| {
            if let Some(key) = request.unique_key
                && let Some(taken) = unique_key::take(key, job, request.unique_for)?
            {
                return Ok(Some(taken));
            }
            blocked_by = dependency::attach(job, &request.depends_on, request.on_dead)?;
            Ok(None)
        })?;
        if let Some(taken) = taken {
            return Ok(taken);
        }
        number = Some(job);
    }
    let project = request.project;
    let place = insert(request, number, blocked_by)?;
    place.announce()?;
    notify::job_event(project, place.key.job, JobAction::Enqueue)?;
    Ok(place.key.job)
}

/// Writes the row; without a number it takes the next.
fn insert(request: Request<'_>, number: Option<i64>, blocked_by: i32) -> Result<Place> {
    let now = session::transaction_start();
    let run_at = request.run_at.map_or(now, i64::from);
    let job = number.map_or_else(|| JOB.next(), Ok)?;
    let place = Place {
        kind: request.kind.to_owned(),
        key: QueuePosition { rank: -request.priority, run_at, job },
        ready: blocked_by == 0 && run_at <= now,
        blocked_by,
        pinned: request.node.is_some() || request.capability.is_some(),
    };
    let row = Row {
        job: place.key.job,
        kind: request.kind.into_datum(),
        payload: request.payload.clone(),
        project: request.project.into_datum(),
        priority: request.priority,
        run_at,
        max_attempts: request.max_attempts,
        on_dead: request.on_dead.into_datum(),
        node: request.node.into_datum(),
        capability: request.capability.into_datum(),
        unique_key: request.unique_key.into_datum(),
        now,
        ready: place.ready,
        blocked_by,
    };
    if !WAITING.insert(&row.into_values())? {
        as_owner(|| insert_by_sql(request, &place))?;
    }
    Ok(place)
}

/// A new row of nebula.job_waiting.
struct Row {
    job: i64,
    kind: Cell,
    payload: Jsonb,
    project: Cell,
    priority: i32,
    run_at: i64,
    max_attempts: i32,
    on_dead: Cell,
    node: Cell,
    capability: Cell,
    unique_key: Cell,
    now: i64,
    ready: bool,
    blocked_by: i32,
}

impl Row {
    /// In the order of the columns of [`WAITING`].
    fn into_values(self) -> [Cell; KEPT + 2] {
        [
            self.job.into_datum(),
            self.kind,
            self.payload.into_datum(),
            self.project,
            self.priority.into_datum(),
            Timestamp(self.run_at).into_datum(),
            0_i32.into_datum(),
            self.max_attempts.into_datum(),
            self.on_dead,
            self.node,
            self.capability,
            self.unique_key,
            Jsonb::empty_array().into_datum(),
            Timestamp(self.now).into_datum(),
            self.ready.into_datum(),
            self.blocked_by.into_datum(),
        ]
    }
}

/// Jobs of one kind that differ in nothing but their payloads.
pub(super) struct Batch<'a> {
    pub(super) kind: &'a str,
    pub(super) payloads: Vec<Option<Jsonb>>,
    pub(super) priority: i32,
    pub(super) run_at: Option<Timestamp>,
    pub(super) max_attempts: i32,
    pub(super) project: Option<Uuid>,
}

/// Puts many jobs into the queue; answers their identifiers in the order of the payloads.
pub(super) fn enqueue_all(batch: Batch<'_>) -> Result<Vec<i64>> {
    check_kind(batch.kind)?;
    check_numbers(batch.priority, batch.max_attempts)?;
    let mut payloads = Vec::with_capacity(batch.payloads.len());
    let count = batch.payloads.len();
    for (place, payload) in batch.payloads.into_iter().enumerate() {
        match payload.filter(|payload| payload.len() <= MAX_PAYLOAD) {
            Some(payload) => payloads.push(payload),
            None => {
                return Err(Error::bad_argument(
                    format!(
                        "payload {} of {count} of kind \"{}\" is null or has more than {MAX_PAYLOAD} bytes",
                        place + 1,
                        batch.kind
                    ),
                    "Put bulk into object storage and its key into the payload.",
                ));
            }
        }
    }
    if payloads.is_empty() {
        return Ok(Vec::new());
    }
    let now = session::transaction_start();
    let run_at = batch.run_at.map_or(now, |at| at.0);
    let jobs: Vec<i64> = payloads.iter().map(|_| JOB.next()).collect::<Result<_>>()?;
    let (kind, project, on_dead) =
        (batch.kind.into_datum(), batch.project.into_datum(), "cancel".into_datum());
    let written = WAITING.try_insert_all(count, |place, values| {
        let row = Row {
            job: jobs[place],
            kind,
            payload: payloads[place].clone(),
            project,
            priority: batch.priority,
            run_at,
            max_attempts: batch.max_attempts,
            on_dead,
            node: None,
            capability: None,
            unique_key: None,
            now,
            ready: run_at <= now,
            blocked_by: 0,
        };
        values.copy_from_slice(&row.into_values());
    })?;
    if written != InsertOutcome::Inserted {
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.job_waiting (job_id, kind, payload, project_id, priority, run_at, ready, max_attempts)
             SELECT job_id, $3, payload, $4, $5, $6, $6 <= now(), $7 FROM unnest($1, $2) AS j(job_id, payload)",
        );
        INSERT.run(&[
            jobs.clone().into(),
            payloads.into(),
            batch.kind.into(),
            batch.project.into(),
            batch.priority.into(),
            Timestamp(run_at).into(),
            batch.max_attempts.into(),
        ])?;
    }
    announce(batch.kind, batch.priority, run_at)?;
    Ok(jobs)
}

/// Tells workers and watchers, when this transaction commits, that many jobs of a kind were enqueued.
pub(super) fn announce(kind: &str, priority: i32, run_at: i64) -> Result<()> {
    if run_at <= session::transaction_start() {
        notify::job_available(kind, Some(QueuePosition { rank: -priority, run_at, job: i64::MIN }))?;
    } else {
        timers::arm_due(run_at);
    }
    notify::many_events()
}

/// The same where the table has triggers of others; or whatever else stands against it is told by the server.
fn insert_by_sql(request: Request<'_>, place: &Place) -> Result<()> {
    static INSERT: Statement = Statement::new(
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
        Timestamp(place.key.run_at).into(),
        place.ready.into(),
        request.max_attempts.into(),
        place.blocked_by.into(),
        request.on_dead.into(),
        request.node.into(),
        request.capability.into(),
        request.unique_key.into(),
    ])
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
    unique_key::check(request.unique_key, request.unique_for)
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
        "ScanStart with a lower-case letter, then up to 62 of a-z, 0-9, dots, underscores or dashes.",
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
