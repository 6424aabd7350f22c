//! The rest of the work when an attempt has ended and its row has left nebula.job_running.

use super::attempt::EndedAttempt;
use super::removed_job::RemovedJob;
use super::{dependency, project_limit, store, unique_key};
use crate::notify;
use crate::pg::error::Result;
use crate::pg::privilege::{as_owner, as_owner_by_index};

/// After an attempt that did not succeed; returns the state of the job.
pub(super) fn after_end(ended: &EndedAttempt<'_>) -> Result<&'static str> {
    let (removed, action) = (&ended.removed, ended.end.action);
    let state = match (&ended.requeued, ended.end.final_state) {
        (None, Some(state)) => {
            after_final(removed, state)?;
            state
        }
        (requeued, _) => {
            requeued.as_ref().map_or(Ok(()), |position| position.notify_available())?;
            "available"
        }
    };
    notify_freed_limit(removed)?;
    notify::job_event(removed.project, removed.job, action)?;
    Ok(state)
}

/// After a job has died or was cancelled.
fn after_final(removed: &RemovedJob, state: &str) -> Result<()> {
    free_unique_key(removed)?;
    if store::has_children(Some(removed.job))? {
        dependency::cancel_children(removed.job, state)?;
    }
    Ok(())
}

/// The job has finished, so its unique key is free.
pub(super) fn free_unique_key(removed: &RemovedJob) -> Result<()> {
    match &removed.unique_key {
        Some(key) => as_owner_by_index(|| unique_key::free(key, removed.job)),
        None => Ok(()),
    }
}

/// If the job counted towards a limit, wakes workers: another job of its kind may start now, or of any kind
/// if its project is limited.
pub(super) fn notify_freed_limit(removed: &RemovedJob) -> Result<()> {
    let Some(kind) = &removed.limited_kind else { return Ok(()) };
    notify::job_available(kind, None)?;
    match removed.project {
        Some(project) if as_owner(|| project_limit::exists(project))? => {
            notify::job_available(notify::ANY_KIND, None)
        }
        _ => Ok(()),
    }
}
