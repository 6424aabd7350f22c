//! Ending attempts that did not succeed, with direct writes.

use pgrx::IntoDatum;

use super::claim::queue_position;
use super::finish::{Finish, removed_job};
use super::tables::{self, Cell, RUNNING, RUNNING_KEY, WAITING, column};
use crate::direct::{FoundRow, IndexScan, KeyValue};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result};
use crate::pg::random::random;
use crate::pg::session;
use crate::pg::statement::Statement;
use crate::queue::attempt::{Attempt, AttemptEnd, EndedAttempt};
use crate::queue::position::Position;
use crate::queue::removed_job::RemovedJob;
use crate::queue::store::Decide;

/// Ends an attempt as `decide` says. `None` when this needs SQL, when there is no such attempt, or when
/// others changed the row between the decision and the lock.
pub(super) fn end_attempt<'a>(
    job: i64,
    attempt: i32,
    decide: Decide<'_, 'a>,
) -> Result<Option<EndedAttempt<'a>>> {
    let key = [KeyValue::bigint(job)];
    let search = IndexScan::exact(RUNNING_KEY, &key);
    // Decides by the row as it is without a lock; the rows are then moved only if that has not changed.
    let read = |row: &FoundRow<'_>| {
        let found = read_attempt(row).filter(|found| found.attempt == attempt)?;
        Some((found, row.read::<Jsonb>(column::ERRORS)?, row.read::<String>(column::WORKER)?))
    };
    let Some((found, mut errors, worker)) = RUNNING.first(&search, read)? else { return Ok(None) };
    let end = decide(&found);
    if let Some(error) = end.error {
        errors = append_error(errors, attempt, worker, error)?;
    }
    let errors = errors.into_datum();
    let moved = match end.final_state {
        Some(state) => finish(&search, &found, state, errors)?,
        None => requeue(&search, &found, &end, errors)?,
    };
    Ok(moved.map(|(removed, requeued)| EndedAttempt { end, removed, requeued }))
}

/// The row that was removed, and where the job waits again.
type Ended = Option<(RemovedJob, Option<Position>)>;

/// Moves the job to nebula.job_finished.
fn finish(search: &IndexScan<'_>, found: &Attempt, state: &'static str, errors: Cell) -> Result<Ended> {
    let Some(segment) = tables::current_segment()? else { return Ok(None) };
    let finish = Finish::now(state, segment);
    let moved = RUNNING.move_rows(segment.table, &[*search], 1, true, |row, values| {
        read_attempt(row).filter(|now| is_same(now, found))?;
        finish.fill(row, values);
        values[column::ERRORS] = errors;
        Some((removed_job(row)?, None))
    })?;
    Ok(moved.rows.into_iter().next())
}

/// Moves the job back to nebula.job_waiting.
fn requeue(search: &IndexScan<'_>, found: &Attempt, end: &AttemptEnd<'_>, errors: Cell) -> Result<Ended> {
    let due = end.delay.map(|seconds| session::clock() + (seconds * 1e6) as i64);
    let moved = RUNNING.move_rows(&WAITING, &[*search], 1, true, |row, values| {
        read_attempt(row).filter(|now| is_same(now, found))?;
        let mut position = running_position(row)?;
        tables::copy_job(row, values);
        if let Some(due) = due {
            position.ready = false;
            position.key.run_at = due;
            values[column::RUN_AT] = Timestamp(due).into_datum();
        }
        values[column::MAX_ATTEMPTS] = found.max_attempts.checked_add(end.extra_attempts)?.into_datum();
        values[column::ERRORS] = errors;
        values[column::READY] = position.ready.into_datum();
        values[column::BLOCKED_BY] = position.blocked_by.into_datum();
        Some((removed_job(row)?, Some(position)))
    })?;
    Ok(moved.rows.into_iter().next())
}

/// The errors of a job with one more. By SQL, because times in `jsonb` are written in the session's time
/// zone.
fn append_error(errors: Jsonb, attempt: i32, worker: String, error: &str) -> Result<Jsonb> {
    static APPEND: Statement = Statement::new(
        "SELECT $1 OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(
                  'attempt', $2, 'at', pg_catalog.clock_timestamp(), 'worker', $3, 'error', $4)",
    );
    APPEND
        .query_opt(&[errors.into(), attempt.into(), worker.into(), error.into()], |row| row.need(1))?
        .ok_or_else(|| Error::corrupt_schema("value of an expression"))
}

/// Reads a row of nebula.job_running.
fn read_attempt(row: &FoundRow<'_>) -> Option<Attempt> {
    Some(Attempt {
        job: row.read(column::JOB_ID)?,
        attempt: row.read(column::ATTEMPT)?,
        max_attempts: row.read(column::MAX_ATTEMPTS)?,
        cancel_requested: row.read(column::CANCEL_REQUESTED)?,
        random: random(),
    })
}

/// Whether both lead to the same decision.
fn is_same(one: &Attempt, other: &Attempt) -> bool {
    let key = |it: &Attempt| (it.job, it.attempt, it.max_attempts, it.cancel_requested);
    key(one) == key(other)
}

/// Where a running job stands when it is put back to its old position.
fn running_position(row: &FoundRow<'_>) -> Option<Position> {
    Some(Position {
        kind: row.read(column::KIND)?,
        key: queue_position(row)?,
        ready: true,
        blocked_by: 0,
        restricted: row.get(column::NODE_ID).is_some() || row.get(column::CAPABILITY).is_some(),
    })
}
