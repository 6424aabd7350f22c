//! How an attempt ends that did not succeed.

use crate::pg::session;
use pgrx::{IntoDatum, direct_function_call, pg_sys};

use super::complete::{Gone, by_sql, gone};
use super::dependency;
use super::error::lost;
use super::position::{Place, place};
use super::row::{self, KEPT, RUNNING, RUNNING_BY_JOB, WAITING, column};
use crate::direct::{FoundRow, IndexScan, KeyValue};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::session::snapshot_is_fixed;
use crate::pg::statement::{Row, Statement};
use nebula_core::backoff;
use nebula_core::job_event::JobAction;

use crate::notify;

/// A running attempt whose row this transaction has locked.
pub(super) struct Attempt {
    job: i64,
    attempt: i32,
    max_attempts: i32,
    cancel_requested: bool,
    /// 0 to 1, for the jitter of the backoff.
    random: f64,
}

/// The columns that [`Attempt::read`] reads.
macro_rules! attempt {
    () => {
        "job_id, attempt, max_attempts, cancel_requested, random()"
    };
}
pub(super) use attempt;

impl Attempt {
    /// Reads the columns that `attempt!()` names.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            job: row.need(1)?,
            attempt: row.need(2)?,
            max_attempts: row.need(3)?,
            cancel_requested: row.need(4)?,
            random: row.need(5)?,
        })
    }

    /// Reads a row of nebula.job_running.
    fn of(row: &FoundRow<'_>) -> Option<Self> {
        Some(Self {
            job: row.read(column::JOB)?,
            attempt: row.read(column::ATTEMPT)?,
            max_attempts: row.read(column::MAX_ATTEMPTS)?,
            cancel_requested: row.read(column::CANCEL_REQUESTED)?,
            random: random(),
        })
    }

    /// Whether the same follows for both.
    fn is_as(&self, other: &Self) -> bool {
        let key = |one: &Self| (one.job, one.attempt, one.max_attempts, one.cancel_requested);
        key(self) == key(other)
    }

    /// Locks an attempt; the error when it has lost its lease.
    fn lock(job: i64, attempt: i32) -> Result<Self> {
        static LOCK: Statement = Statement::new(concat!(
            "SELECT ",
            attempt!(),
            " FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 FOR UPDATE"
        ));
        LOCK.query_opt(&[job.into(), attempt.into()], Self::read)?.ok_or_else(|| lost(job, attempt))
    }
}

/// As SQL's function of that name.
#[expect(unsafe_code, reason = "a function of the server is called as SQL would call it")]
fn random() -> f64 {
    // SAFETY: the function takes nothing and answers a double precision.
    unsafe { direct_function_call(pg_sys::drandom, &[]) }.unwrap_or(1.0)
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Retry,
    Dead,
    Cancelled,
}

/// The state machine's only choice.
fn next(attempt: &Attempt, retryable: bool) -> Next {
    if attempt.cancel_requested {
        Next::Cancelled
    } else if retryable && attempt.attempt < attempt.max_attempts {
        Next::Retry
    } else {
        Next::Dead
    }
}

/// What an attempt leaves behind.
struct End<'a> {
    /// The state it has finished in; `None`: it waits again.
    state: Option<&'static str>,
    /// How long it waits, in seconds; `None`: it stands where it stood.
    wait: Option<f64>,
    /// So many attempts more than it had.
    more: i32,
    /// What went wrong, if anything did.
    error: Option<&'a str>,
    action: JobAction,
}

impl<'a> End<'a> {
    fn failed(attempt: &Attempt, error: &'a str, retryable: bool) -> Self {
        let end = |state, action| End { state, wait: None, more: 0, error: Some(error), action };
        match next(attempt, retryable) {
            Next::Retry => {
                let wait = backoff::delay(attempt.attempt.unsigned_abs(), attempt.random).as_secs_f64();
                End { wait: Some(wait), ..end(None, JobAction::Fail) }
            }
            Next::Dead => end(Some("dead"), JobAction::Fail),
            Next::Cancelled => end(Some("cancelled"), JobAction::Cancel),
        }
    }

    fn handed_back(attempt: &Attempt, reason: Option<&'a str>) -> Self {
        if attempt.cancel_requested {
            let error = reason.or(Some("handed back"));
            End { state: Some("cancelled"), wait: None, more: 0, error, action: JobAction::Cancel }
        } else {
            // The attempt is spent, because its number must not come again; so there is one more.
            End { state: None, wait: None, more: 1, error: reason, action: JobAction::Retry }
        }
    }
}

pub(super) fn fail(job: i64, attempt: i32, error: &str, retryable: bool) -> Result<&'static str> {
    end(job, attempt, |found| End::failed(found, error, retryable))
}

/// Moves a locked attempt on and answers the job's new state.
pub(super) fn end_failed(attempt: &Attempt, error: &str, retryable: bool) -> Result<&'static str> {
    end_by_sql(attempt, &End::failed(attempt, error, retryable))
}

/// Gives a running job back without counting the attempt as failed; answers its new state.
pub(super) fn hand_back(job: i64, attempt: i32, reason: Option<&str>) -> Result<&'static str> {
    end(job, attempt, |found| End::handed_back(found, reason))
}

/// Ends an attempt as `how` says of what is found; answers the job's new state.
fn end<'a>(job: i64, attempt: i32, how: impl Fn(&Attempt) -> End<'a>) -> Result<&'static str> {
    match end_below_sql(job, attempt, &how)? {
        Some(state) => Ok(state),
        None => as_owner_by_index(|| {
            let locked = Attempt::lock(job, attempt)?;
            end_by_sql(&locked, &how(&locked))
        }),
    }
}

/// What `end_by_sql` does, at a fraction of its cost. `None`: this needs SQL, or others changed the row meanwhile, and
/// nothing was done.
fn end_below_sql<'a>(
    job: i64,
    attempt: i32,
    how: impl Fn(&Attempt) -> End<'a>,
) -> Result<Option<&'static str>> {
    // As `jsonb` writes times, in the session's time zone.
    static APPEND: Statement = Statement::new(
        "SELECT $1 OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(
                  'attempt', $2, 'at', pg_catalog.clock_timestamp(), 'worker', $3, 'error', $4)",
    );
    // What a fixed snapshot does not show must be told with 40001, which SQL does.
    if snapshot_is_fixed() {
        return Ok(None);
    }
    let key = [KeyValue::bigint(job)];
    let search = IndexScan::exact(RUNNING_BY_JOB, &key);
    let look = |row: &FoundRow<'_>| {
        let found = Attempt::of(row).filter(|found| found.attempt == attempt)?;
        Some((found, row.read::<Jsonb>(column::ERRORS)?, row.read::<String>(column::WORKER)?))
    };
    let Some((found, mut errors, worker)) = RUNNING.first(&search, look)? else { return Ok(None) };
    let end = how(&found);
    if let Some(error) = end.error {
        let values = [errors.into(), attempt.into(), worker.into(), error.into()];
        errors = APPEND
            .query_opt(&values, |row| row.need(1))?
            .ok_or_else(|| Error::corrupt_schema("value of an expression"))?;
    }
    let errors = errors.into_datum();
    // A request to cancel may have come since.
    let as_found = |row: &FoundRow<'_>| Attempt::of(row).filter(|now| now.is_as(&found));
    if let Some(state) = end.state {
        let Some((number, finished)) = row::present_segment()? else { return Ok(None) };
        let own = [state.into_datum(), None, Timestamp(session::clock()).into_datum(), number.into_datum()];
        let moved = RUNNING.move_rows(finished, &[search], 1, true, |row, values| {
            as_found(row)?;
            row::finish(row, values, &own);
            values[column::ERRORS] = errors;
            Gone::of(row)
        })?;
        return moved
            .rows
            .iter()
            .try_for_each(|gone| buried(gone, state, end.action))
            .map(|()| moved.rows.first().map(|_| state));
    }
    let due = end.wait.map(|wait| session::clock() + (wait * 1e6) as i64);
    let moved = RUNNING.move_rows(&WAITING, &[search], 1, true, |row, values| {
        let found = as_found(row)?;
        let mut place = Place::of(row)?;
        row::keep(row, values);
        if let Some(due) = due {
            place.ready = false;
            place.key.run_at = due;
            values[column::RUN_AT] = Timestamp(due).into_datum();
        }
        values[column::MAX_ATTEMPTS] = found.max_attempts.checked_add(end.more)?.into_datum();
        values[column::ERRORS] = errors;
        values[KEPT..].copy_from_slice(&[place.ready.into_datum(), place.blocked_by.into_datum()]);
        Some((Gone::of(row)?, place))
    })?;
    let mut answer = None;
    for (gone, place) in moved.rows {
        answer = Some(is_back(&gone, &place, end.action)?);
    }
    Ok(answer)
}

fn end_by_sql(attempt: &Attempt, end: &End<'_>) -> Result<&'static str> {
    static MORE: Statement =
        Statement::new("UPDATE nebula.job_running SET max_attempts = max_attempts + $2 WHERE job_id = $1");
    if let Some(state) = end.state {
        for gone in by_sql(&[(attempt.job, attempt.attempt)], vec![None], state, end.error)? {
            buried(&gone, state, end.action)?;
        }
        return Ok(state);
    }
    if end.more > 0 {
        MORE.run(&[attempt.job.into(), end.more.into()])?;
    }
    requeue(attempt.job, end)
}

/// Puts a running job back.
fn requeue(job: i64, end: &End<'_>) -> Result<&'static str> {
    static REQUEUE: Statement = Statement::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 RETURNING *
         ), back AS (
           INSERT INTO nebula.job_waiting
                  (job_id, kind, payload, project_id, priority, run_at, ready, attempt, max_attempts, on_dead, node_id,
                   capability, unique_key, errors, enqueued_at)
           SELECT job_id, kind, payload, project_id, priority,
                  coalesce(clock_timestamp() + make_interval(secs => $3), run_at), $3 IS NULL, attempt, max_attempts, on_dead,
                  node_id, capability, unique_key,
                  CASE WHEN $2 IS NULL THEN errors ELSE errors || jsonb_build_object(
                    'attempt', attempt, 'at', clock_timestamp(), 'worker', worker, 'error', $2) END,
                  enqueued_at
             FROM gone
           RETURNING ",
        place!(),
        ")
         SELECT ",
        gone!(),
        ", back.* FROM gone, back"
    ));
    let values = [job.into(), end.error.into(), end.wait.into()];
    let read = |row: &Row<'_>| Ok((Gone::read(row)?, Place::read_from(row, 5)?));
    if let Some((gone, place)) = REQUEUE.query_opt(&values, read)? {
        is_back(&gone, &place, end.action)?;
    }
    Ok("available")
}

/// What is left to do for a job that waits again.
fn is_back(gone: &Gone, place: &Place, action: JobAction) -> Result<&'static str> {
    place.announce()?;
    gone.make_room()?;
    notify::job_event(gone.project, gone.job, action)?;
    Ok("available")
}

/// What is left to do for one that has finished.
fn buried(gone: &Gone, state: &str, action: JobAction) -> Result<()> {
    gone.free_key()?;
    if dependency::has_children(gone.job)? {
        as_owner_by_index(|| dependency::cancel_children(gone.job, state))?;
    }
    gone.make_room()?;
    notify::job_event(gone.project, gone.job, action)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn attempt(number: i32, cancel_requested: bool) -> Attempt {
        Attempt { job: 1, attempt: number, max_attempts: 3, cancel_requested, random: 0.5 }
    }

    #[test]
    fn attempts_are_used_up_before_a_job_is_dead() {
        assert_eq!(next(&attempt(1, false), true), Next::Retry);
        assert_eq!(next(&attempt(2, false), true), Next::Retry);
        assert_eq!(next(&attempt(3, false), true), Next::Dead);
    }

    #[test]
    fn a_hopeless_error_is_not_retried() {
        assert_eq!(next(&attempt(1, false), false), Next::Dead);
    }

    #[test]
    fn a_cancelled_job_does_not_come_back() {
        assert_eq!(next(&attempt(1, true), true), Next::Cancelled);
        assert_eq!(next(&attempt(3, true), false), Next::Cancelled);
    }
}
