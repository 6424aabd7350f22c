//! How an attempt ends.

use pgrx::Uuid;

use super::dependency;
use super::lease::lost;
use crate::backoff;
use crate::error::Result;
use crate::jsonb::Jsonb;
use crate::plan::{Plan, Row};
use crate::wakeup;

/// A running attempt whose row this transaction has locked.
pub(super) struct Attempt {
    job: i64,
    attempt: i32,
    max_attempts: i32,
    cancel_requested: bool,
    project: Option<Uuid>,
    /// 0 to 1, for the jitter of the backoff.
    random: f64,
}

impl Attempt {
    /// Reads columns 1 to 6 in the order of the fields.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            job: row.need(1)?,
            attempt: row.need(2)?,
            max_attempts: row.need(3)?,
            cancel_requested: row.need(4)?,
            project: row.get(5)?,
            random: row.need(6)?,
        })
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

pub(super) fn complete(job: i64, attempt: i32, result: Option<Jsonb>) -> Result<()> {
    static FINISH: Plan = Plan::new(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 RETURNING *
         ), freed AS (
           DELETE FROM nebula.job_key k USING gone g WHERE k.unique_key = g.unique_key AND k.job_id = g.job_id
         )
         INSERT INTO nebula.job_finished
                (job_id, kind, payload, project_id, state, priority, attempt, max_attempts, errors, result, detail,
                 enqueued_at, started_at, finished_at)
         SELECT job_id, kind, payload, project_id, 'succeeded', priority, attempt, max_attempts, errors, $3, detail,
                enqueued_at, started_at, clock_timestamp()
           FROM gone
         RETURNING project_id",
    );
    let project: Option<Uuid> = FINISH
        .first(&[job.into(), attempt.into(), result.into()], |row| row.get(1))?
        .ok_or_else(|| lost(job, attempt))?;
    // A statement of its own: children enqueued while the DELETE above waited for their lock are seen now.
    dependency::release_children(job)?;
    wakeup::job_event(project, job, "complete")
}

pub(super) fn fail(job: i64, attempt: i32, error: &str, retryable: bool) -> Result<&'static str> {
    static LOCK: Plan = Plan::new(
        "SELECT job_id, attempt, max_attempts, cancel_requested, project_id, random() FROM nebula.job_running
          WHERE job_id = $1 AND attempt = $2 FOR UPDATE",
    );
    let running =
        LOCK.first(&[job.into(), attempt.into()], Attempt::read)?.ok_or_else(|| lost(job, attempt))?;
    end_failed(&running, error, retryable)
}

/// Moves a locked attempt on and answers the job's new state.
pub(super) fn end_failed(attempt: &Attempt, error: &str, retryable: bool) -> Result<&'static str> {
    match next(attempt, retryable) {
        Next::Retry => retry(attempt, error),
        Next::Dead => bury(attempt, error, "dead", "fail"),
        Next::Cancelled => bury(attempt, error, "cancelled", "cancel"),
    }
}

fn retry(attempt: &Attempt, error: &str) -> Result<&'static str> {
    static REQUEUE: Plan = Plan::new(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 RETURNING *
         )
         INSERT INTO nebula.job_waiting
                (job_id, kind, payload, project_id, priority, run_at, attempt, max_attempts, node_id, unique_key,
                 errors, enqueued_at)
         SELECT job_id, kind, payload, project_id, priority, clock_timestamp() + make_interval(secs => $3), attempt,
                max_attempts, node_id, unique_key,
                errors || jsonb_build_object('attempt', attempt, 'at', clock_timestamp(), 'worker', worker, 'error', $2),
                enqueued_at
           FROM gone",
    );
    let wait = backoff::delay(attempt.attempt.unsigned_abs(), attempt.random).as_secs_f64();
    REQUEUE.run(&[attempt.job.into(), error.into(), wait.into()])?;
    wakeup::job_event(attempt.project, attempt.job, "fail")?;
    Ok("available")
}

fn bury(attempt: &Attempt, error: &str, state: &'static str, action: &str) -> Result<&'static str> {
    static BURY: Plan = Plan::new(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 RETURNING *
         ), freed AS (
           DELETE FROM nebula.job_key k USING gone g WHERE k.unique_key = g.unique_key AND k.job_id = g.job_id
         )
         INSERT INTO nebula.job_finished
                (job_id, kind, payload, project_id, state, priority, attempt, max_attempts, errors, detail,
                 enqueued_at, started_at, finished_at)
         SELECT job_id, kind, payload, project_id, $3, priority, attempt, max_attempts,
                errors || jsonb_build_object('attempt', attempt, 'at', clock_timestamp(), 'worker', worker, 'error', $2),
                detail, enqueued_at, started_at, clock_timestamp()
           FROM gone",
    );
    BURY.run(&[attempt.job.into(), error.into(), state.into()])?;
    dependency::cancel_children(attempt.job, state)?;
    wakeup::job_event(attempt.project, attempt.job, action)?;
    Ok(state)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn attempt(number: i32, cancel_requested: bool) -> Attempt {
        Attempt { job: 1, attempt: number, max_attempts: 3, cancel_requested, project: None, random: 0.5 }
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
