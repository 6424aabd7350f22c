//! Ending attempts that did not succeed: failed, or handed back.

use pgrx::prelude::*;

use super::after_end::after_end;
use super::attempt::AttemptEnd;
use super::store;
use crate::pg::error::{required, sql};

#[pg_extern]
fn fail_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    error: Option<&str>,
    retryable: default!(Option<bool>, "true"),
) -> sql::Result<&'static str> {
    let (job, attempt) = (required(job_id, "job_id")?, required(attempt, "attempt")?);
    let (error, retryable) = (required(error, "error")?, retryable.unwrap_or(true));
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
    let ended = store::end_attempt(job, attempt, &|found| AttemptEnd::handed_back(found, reason))?;
    Ok(after_end(&ended)?)
}
