//! Jobs that wait for other jobs.

use pgrx::Uuid;

use super::{state_of, unknown};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::wakeup;

/// Makes `job` wait for the parents that have not finished and answers how many those are.
///
/// Parents stay locked until this transaction ends, so none can finish without seeing its new child.
pub(super) fn attach(job: i64, mut parents: Vec<i64>) -> Result<i32> {
    static INSERT: Plan =
        Plan::new("INSERT INTO nebula.job_dependency (parent_id, child_id) VALUES ($1, $2)");
    // In one order for everybody, against deadlocks.
    parents.sort_unstable();
    parents.dedup();
    let mut waiting = 0;
    for parent in parents {
        if parent == job {
            return Err(Error::bad_argument(
                format!("job {job} cannot wait for itself"),
                "Name jobs that exist already in depends_on.",
            ));
        }
        if lock_unfinished(parent)? {
            INSERT.run(&[parent.into(), job.into()])?;
            waiting += 1;
        }
    }
    Ok(waiting)
}

/// Locks an unfinished job against finishing; `false` when it has succeeded.
fn lock_unfinished(parent: i64) -> Result<bool> {
    // KEY SHARE conflicts with the DELETE that moves a job on, but not with heartbeats.
    static WAITING: Plan = Plan::new("SELECT FROM nebula.job_waiting WHERE job_id = $1 FOR KEY SHARE");
    static RUNNING: Plan = Plan::new("SELECT FROM nebula.job_running WHERE job_id = $1 FOR KEY SHARE");
    // A claim moves it on and a retry moves it back between two looks, so look until it stands still.
    loop {
        if WAITING.hits(&[parent.into()])? || RUNNING.hits(&[parent.into()])? {
            return Ok(true);
        }
        match state_of(parent)?.as_deref() {
            Some("succeeded") => return Ok(false),
            Some(state @ ("dead" | "cancelled")) => {
                return Err(Error::new(
                    Kind::WrongState,
                    format!("job {parent} is {state}, so nothing can wait for it"),
                    "Enqueue the parent again and depend on that.",
                ));
            }
            Some(_) => {}
            None => return Err(unknown(parent)),
        }
    }
}

/// Lets the children of a job that succeeded go on.
pub(super) fn release_children(parent: i64) -> Result<()> {
    // Children are locked in one order, because they may have other parents that finish just now.
    static RELEASE: Plan = Plan::new(
        "WITH freed AS (DELETE FROM nebula.job_dependency WHERE parent_id = $1 RETURNING child_id)
         UPDATE nebula.job_waiting SET blocked_by = blocked_by - 1
          WHERE job_id = ANY (ARRAY(SELECT w.job_id FROM nebula.job_waiting w
                                     WHERE w.job_id IN (SELECT child_id FROM freed)
                                     ORDER BY w.job_id FOR NO KEY UPDATE))
         RETURNING kind, blocked_by = 0 AND run_at <= now()",
    );
    let mut kinds =
        RELEASE.rows(&[parent.into()], |row| Ok((row.need::<String>(1)?, row.need::<bool>(2)?)))?;
    kinds.retain(|(_, available)| *available);
    kinds.sort_unstable();
    kinds.dedup();
    kinds.iter().try_for_each(|(kind, _)| wakeup::job_available(kind))
}

/// Cancels everything that waits for a job which will never succeed, and what waits for that.
pub(super) fn cancel_children(parent: i64, state: &str) -> Result<()> {
    // One level at a time, each with a fresh snapshot: an enqueuer that locked a child has then made its own visible.
    static LEVEL: Plan = Plan::new(
        "WITH gone AS (
           DELETE FROM nebula.job_waiting w
            USING nebula.job_dependency d WHERE d.parent_id = $1 AND w.job_id = d.child_id
           RETURNING w.*
         ), unlinked AS (
           DELETE FROM nebula.job_dependency d USING gone g WHERE d.child_id = g.job_id
         ), freed AS (
           DELETE FROM nebula.job_key k USING gone g WHERE k.unique_key = g.unique_key AND k.job_id = g.job_id
         )
         INSERT INTO nebula.job_finished
                (job_id, kind, payload, project_id, state, priority, attempt, max_attempts, errors, enqueued_at)
         SELECT g.job_id, g.kind, g.payload, g.project_id, 'cancelled', g.priority, g.attempt, g.max_attempts,
                g.errors || jsonb_build_object('attempt', g.attempt, 'at', clock_timestamp(), 'worker', NULL,
                                               'error', format('job %s, which this one waits for, is %s', $1, $2)),
                g.enqueued_at
           FROM gone g
         RETURNING job_id, project_id",
    );
    let mut frontier = vec![(parent, state.to_owned())];
    while let Some((job, state)) = frontier.pop() {
        let cancelled =
            LEVEL.rows(&[job.into(), state.into()], |row| Ok((row.need::<i64>(1)?, row.get::<Uuid>(2)?)))?;
        for (child, project) in cancelled {
            wakeup::job_event(project, child, "cancel")?;
            frontier.push((child, "cancelled".to_owned()));
        }
    }
    Ok(())
}
