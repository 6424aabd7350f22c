//! Completing jobs.

use nebula_core::job_event::JobAction;
use pgrx::prelude::*;

use super::attempt::SucceededAttempt;
use super::error::lost;
use super::request::check_size;
use super::{after_end, dependency, store};
use crate::notify;
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::error::{Error, Result, required, required_elements, sql};

#[pg_extern]
fn complete_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    result: default!(Option<Jsonb>, "NULL"),
) -> sql::Result<()> {
    Ok(complete(required(job_id, "job_id")?, required(attempt, "attempt")?, result)?)
}

#[pg_extern]
fn complete_jobs(
    job_ids: Option<Vec<Option<i64>>>,
    attempts: Option<Vec<Option<i32>>>,
    results: default!(Option<Vec<Option<Jsonb>>>, "NULL"),
) -> sql::Result<SetOfIterator<'static, i64>> {
    let jobs = required_elements(required(job_ids, "job_ids")?, "job_ids")?;
    let attempts = required_elements(required(attempts, "attempts")?, "attempts")?;
    one_for_each_job("attempts", attempts.len(), jobs.len())?;
    let results = match results {
        Some(results) => {
            one_for_each_job("results", results.len(), jobs.len())?;
            results
        }
        None => vec![None; jobs.len()],
    };
    let given = jobs.into_iter().zip(attempts).zip(results);
    let mut given: Vec<SucceededAttempt> =
        given.map(|((job, attempt), result)| SucceededAttempt { job, attempt, result }).collect();
    // All sessions lock jobs in one order, against deadlocks.
    given.sort_by_key(|attempt| attempt.job);
    Ok(SetOfIterator::new(succeed(given)?))
}

fn one_for_each_job(what: &str, count: usize, jobs: usize) -> Result<()> {
    if count == jobs {
        return Ok(());
    }
    Err(Error::bad_argument(
        format!("there are {jobs} job_ids and {count} {what}"),
        format!("Give one of {what} for each job."),
    ))
}

/// Completes one job.
pub(super) fn complete(job: i64, attempt: i32, result: Option<Jsonb>) -> Result<()> {
    let completed = succeed(vec![SucceededAttempt { job, attempt, result }])?;
    if completed.is_empty() { Err(lost(job, attempt)) } else { Ok(()) }
}

/// Finishes jobs, given in the order of their identifiers; returns those whose attempt it still was.
fn succeed(attempts: Vec<SucceededAttempt>) -> Result<Vec<i64>> {
    for given in &attempts {
        check_size("result", given.job, given.result.as_ref())?;
    }
    let finished = store::finish_succeeded(attempts)?;
    // Looks only now that the rows are gone: children that were enqueued while a row was waited for are seen,
    // and no more can come. For many jobs, looks first whether there are children of any job at all.
    let may_have_children = match &finished[..] {
        [] | [_] => true,
        _ => store::has_children(None)?,
    };
    for removed in &finished {
        after_end::free_unique_key(removed)?;
        if may_have_children {
            dependency::release_children(removed.job)?;
        }
        after_end::notify_freed_limit(removed)?;
        notify::job_event(removed.project, removed.job, JobAction::Complete)?;
    }
    Ok(finished.into_iter().map(|removed| removed.job).collect())
}
