//! Ending attempts that did not succeed: failed, handed back, or postponed.

use pgrx::prelude::*;

use super::after_end::after_end;
use super::attempt::AttemptEnd;
use super::store;
use crate::pg::datum::timestamp::{self, Timestamp};
use crate::pg::error::{required, sql};
use crate::pg::limits::{check_span, cut_failure};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::session;
use crate::pg::statement::Statement;

#[pg_extern]
fn fail_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    error: Option<&str>,
    retryable: default!(Option<bool>, "true"),
) -> sql::Result<&'static str> {
    let (job, attempt) = (required(job_id, "job_id")?, required(attempt, "attempt")?);
    let (error, retryable) = (cut_failure(required(error, "error")?), retryable.unwrap_or(true));
    let ended = store::end_attempt(job, attempt, &|found| AttemptEnd::failed(found, error, retryable))?;
    Ok(after_end(&ended)?)
}

#[pg_extern]
fn hand_back_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    reason: default!(Option<&str>, "NULL"),
) -> sql::Result<&'static str> {
    let (job, attempt) = (required(job_id, "job_id")?, required(attempt, "attempt")?);
    let reason = reason.map(cut_failure);
    let ended = store::end_attempt(job, attempt, &|found| AttemptEnd::handed_back(found, reason))?;
    Ok(after_end(&ended)?)
}

#[pg_extern]
fn postpone_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    delay: Option<Interval>,
    reason: Option<&str>,
) -> sql::Result<&'static str> {
    // One entry for all the times that a job waited in a row, so that the list does not grow with the wait.
    static MARK: Statement = Statement::new(
        "UPDATE nebula.job_waiting
            SET errors = jsonb_set(
                           CASE WHEN errors -> -2 -> 'postponed' = 'true' THEN errors - (-2) ELSE errors END,
                           '{-1,postponed}', 'true'
                         )
          WHERE job_id = $1",
    );
    let (job, attempt) = (required(job_id, "job_id")?, required(attempt, "attempt")?);
    let (delay, reason) = (required(delay, "delay")?, required(reason, "reason")?);
    check_span("delay", delay, "30 s")?;
    let reason = cut_failure(reason);
    let now = Timestamp(session::clock());
    let seconds = (timestamp::later(now, delay)?.0 - now.0) as f64 / 1e6;
    let ended = store::end_attempt(job, attempt, &|found| AttemptEnd::postponed(found, seconds, reason))?;
    if ended.requeued.is_some() {
        as_owner_by_index(|| MARK.run(&[job.into()]))?;
    }
    Ok(after_end(&ended)?)
}
