//! How an attempt ends.

use pgrx::Uuid;

use super::lease::lost;
use super::place::{Place, kept, place, segment};
use super::{dependency, key};
use crate::backoff;
use crate::error::{Error, Result};
use crate::jsonb::Jsonb;
use crate::plan::{Plan, Row};
use crate::wakeup::{self, Action};

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

    /// Locks an attempt; the error when it has lost its lease.
    fn lock(job: i64, attempt: i32) -> Result<Self> {
        static LOCK: Plan = Plan::new(concat!(
            "SELECT ",
            attempt!(),
            " FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 FOR UPDATE"
        ));
        LOCK.first(&[job.into(), attempt.into()], Self::read)?.ok_or_else(|| lost(job, attempt))
    }
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

/// What is left to do when a row has left nebula.job_running.
struct Gone {
    project: Option<Uuid>,
    unique_key: Option<String>,
    /// Its kind is limited, so another may start now.
    limited: Option<String>,
}

/// The columns that [`Gone::read`] reads, of the row that was deleted.
macro_rules! gone {
    () => {
        "gone.project_id, gone.unique_key, CASE WHEN gone.limited THEN gone.kind END"
    };
}

impl Gone {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self { project: row.get(1)?, unique_key: row.get(2)?, limited: row.get(3)? })
    }

    /// Another job of a limited kind may start.
    fn make_room(&self) -> Result<()> {
        self.limited.as_ref().map_or(Ok(()), |kind| wakeup::job_available(kind, None))
    }
}

pub(super) fn complete(job: i64, attempt: i32, result: Option<Jsonb>) -> Result<()> {
    static FINISH: Plan = Plan::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 RETURNING *
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        kept!(),
        ", state, errors, result, worker, progress, detail, started_at, segment)
           SELECT ",
        kept!(),
        ", 'succeeded', errors, $3, worker, progress, detail, started_at, ",
        segment!(),
        " FROM gone
         )
         SELECT ",
        gone!(),
        " FROM gone"
    ));
    let gone = FINISH
        .first(&[job.into(), attempt.into(), result.into()], Gone::read)?
        .ok_or_else(|| lost(job, attempt))?;
    key::free(gone.unique_key.as_deref(), job)?;
    // A statement of its own: children enqueued while the DELETE above waited for their lock are seen now.
    dependency::release_children(job)?;
    gone.make_room()?;
    wakeup::job_event(gone.project, job, Action::Complete)
}

/// Completes many jobs; answers those that were still whose attempt it was, in no order.
pub(super) fn complete_all(jobs: Vec<i64>, attempts: Vec<i32>) -> Result<Vec<i64>> {
    static FINISH: Plan = Plan::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_running r USING unnest($1, $2) AS given(job_id, attempt)
            WHERE r.job_id = given.job_id AND r.attempt = given.attempt RETURNING r.*
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        kept!(),
        ", state, errors, worker, progress, detail, started_at, segment)
           SELECT ",
        kept!(),
        ", 'succeeded', errors, worker, progress, detail, started_at, ",
        segment!(),
        " FROM gone
         )
         SELECT ",
        gone!(),
        ", gone.job_id FROM gone"
    ));
    if jobs.len() != attempts.len() {
        return Err(Error::bad_argument(
            format!("there are {} job_ids and {} attempts", jobs.len(), attempts.len()),
            "Give one attempt for each job.",
        ));
    }
    let read = |row: &Row<'_>| Ok((Gone::read(row)?, row.need::<i64>(4)?));
    let all = FINISH.rows(&[jobs.into(), attempts.into()], read)?;
    let finished: Vec<i64> = all.iter().map(|(_, job)| *job).collect();
    for (gone, job) in &all {
        key::free(gone.unique_key.as_deref(), *job)?;
        gone.make_room()?;
        wakeup::job_event(gone.project, *job, Action::Complete)?;
    }
    // A statement of its own, as above.
    for parent in dependency::parents_among(&finished)? {
        dependency::release_children(parent)?;
    }
    Ok(finished)
}

pub(super) fn fail(job: i64, attempt: i32, error: &str, retryable: bool) -> Result<&'static str> {
    end_failed(&Attempt::lock(job, attempt)?, error, retryable)
}

/// Moves a locked attempt on and answers the job's new state.
pub(super) fn end_failed(attempt: &Attempt, error: &str, retryable: bool) -> Result<&'static str> {
    match next(attempt, retryable) {
        Next::Retry => {
            let wait = backoff::delay(attempt.attempt.unsigned_abs(), attempt.random).as_secs_f64();
            requeue(attempt, Some(error), Some(wait), Action::Fail)
        }
        Next::Dead => bury(attempt, error, "dead", Action::Fail),
        Next::Cancelled => bury(attempt, error, "cancelled", Action::Cancel),
    }
}

/// Gives a running job back without counting the attempt as failed; answers its new state.
pub(super) fn hand_back(job: i64, attempt: i32, reason: Option<&str>) -> Result<&'static str> {
    static ONE_MORE: Plan =
        Plan::new("UPDATE nebula.job_running SET max_attempts = max_attempts + 1 WHERE job_id = $1");
    let locked = Attempt::lock(job, attempt)?;
    if locked.cancel_requested {
        return bury(&locked, reason.unwrap_or("handed back"), "cancelled", Action::Cancel);
    }
    // The attempt is spent, because its number must not come again; so there is one more.
    ONE_MORE.run(&[job.into()])?;
    requeue(&locked, reason, None, Action::Retry)
}

/// Puts a running job back: due after `wait` seconds, or where it stood.
fn requeue(
    attempt: &Attempt,
    error: Option<&str>,
    wait: Option<f64>,
    action: Action,
) -> Result<&'static str> {
    static REQUEUE: Plan = Plan::new(concat!(
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
    let values = [attempt.job.into(), error.into(), wait.into()];
    let read = |row: &Row<'_>| Ok((Gone::read(row)?, Place::read_from(row, 4)?));
    if let Some((gone, place)) = REQUEUE.first(&values, read)? {
        place.announce()?;
        gone.make_room()?;
        wakeup::job_event(gone.project, attempt.job, action)?;
    }
    Ok("available")
}

fn bury(attempt: &Attempt, error: &str, state: &'static str, action: Action) -> Result<&'static str> {
    static BURY: Plan = Plan::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 RETURNING *
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        kept!(),
        ", state, errors, worker, progress, detail, started_at, segment)
           SELECT ",
        kept!(),
        ", $3, errors || jsonb_build_object('attempt', attempt, 'at', clock_timestamp(), 'worker', worker, 'error', $2),
                  worker, progress, detail, started_at, ",
        segment!(),
        " FROM gone
         )
         SELECT ",
        gone!(),
        " FROM gone"
    ));
    let values = [attempt.job.into(), error.into(), state.into()];
    if let Some(gone) = BURY.first(&values, Gone::read)? {
        key::free(gone.unique_key.as_deref(), attempt.job)?;
        dependency::cancel_children(attempt.job, state)?;
        gone.make_room()?;
        wakeup::job_event(gone.project, attempt.job, action)?;
    }
    Ok(state)
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
