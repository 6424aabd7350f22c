//! A running attempt, and the decision how it ends when it did not succeed.

use nebula_core::backoff;
use nebula_core::job_event::JobAction;
use nebula_core::next_state::NextState;

use super::position::Position;
use super::removed_job::RemovedJob;
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::error::Result;
use crate::pg::statement::Row;

/// A running attempt.
pub(super) struct Attempt {
    pub(super) job: i64,
    pub(super) attempt: i32,
    pub(super) max_attempts: i32,
    pub(super) cancel_requested: bool,
    /// 0 to 1, for the jitter of the backoff.
    pub(super) random: f64,
}

impl Attempt {
    /// Reads the columns of `attempt_columns!()`.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            job: row.need(1)?,
            attempt: row.need(2)?,
            max_attempts: row.need(3)?,
            cancel_requested: row.need(4)?,
            random: row.need(5)?,
        })
    }
}

/// An attempt whose worker says that it succeeded.
pub(super) struct SucceededAttempt {
    pub(super) job: i64,
    pub(super) attempt: i32,
    pub(super) result: Option<Jsonb>,
}

/// How an attempt ends that did not succeed.
pub(super) struct AttemptEnd<'a> {
    /// The final state of the job; `None`: it waits again.
    pub(super) final_state: Option<&'static str>,
    /// Seconds until it is due again; `None`: it keeps run_at and can be claimed at once.
    pub(super) delay: Option<f64>,
    /// Added to max_attempts.
    pub(super) extra_attempts: i32,
    /// Recorded in the job's errors.
    pub(super) error: Option<&'a str>,
    pub(super) action: JobAction,
}

impl<'a> AttemptEnd<'a> {
    /// The end of an attempt that failed.
    pub(super) fn failed(attempt: &Attempt, error: &'a str, retryable: bool) -> Self {
        let end = |final_state, action| Self {
            final_state,
            delay: None,
            extra_attempts: 0,
            error: Some(error),
            action,
        };
        let Attempt { attempt: number, max_attempts, cancel_requested, .. } = *attempt;
        match NextState::after_failure(number, max_attempts, retryable, cancel_requested) {
            NextState::Available => {
                let delay = backoff::delay(attempt.attempt.unsigned_abs(), attempt.random).as_secs_f64();
                Self { delay: Some(delay), ..end(None, JobAction::Fail) }
            }
            NextState::Dead => end(Some("dead"), JobAction::Fail),
            NextState::Cancelled => end(Some("cancelled"), JobAction::Cancel),
        }
    }

    /// The end of an attempt that its worker gives back before it has failed.
    pub(super) fn handed_back(attempt: &Attempt, reason: Option<&'a str>) -> Self {
        let end = |final_state, extra_attempts, error, action| Self {
            final_state,
            delay: None,
            extra_attempts,
            error,
            action,
        };
        if attempt.cancel_requested {
            end(Some("cancelled"), 0, reason.or(Some("handed back")), JobAction::Cancel)
        } else {
            // The number of the attempt is used up, because the next one must have another; so one is added.
            end(None, 1, reason, JobAction::Retry)
        }
    }

    /// The end of an attempt that is to be repeated after `delay` seconds, for a reason outside of the job.
    pub(super) fn postponed(attempt: &Attempt, delay: f64, reason: &'a str) -> Self {
        let end = Self::handed_back(attempt, Some(reason));
        if end.final_state.is_some() { end } else { Self { delay: Some(delay), ..end } }
    }
}

/// An attempt that has ended, with the rows that were written.
pub(super) struct EndedAttempt<'a> {
    pub(super) end: AttemptEnd<'a>,
    pub(super) removed: RemovedJob,
    /// Where the job waits again, unless it reached a final state.
    pub(super) requeued: Option<Position>,
}
