//! Stopping jobs.

use pgrx::Uuid;

use super::{dependency, state_of, unknown};
use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, Row};
use crate::wakeup;

pub(super) fn cancel(job: i64) -> Result<&'static str> {
    static WAITING: Plan = Plan::new(
        "WITH gone AS (
           DELETE FROM nebula.job_waiting WHERE job_id = $1 RETURNING *
         ), unlinked AS (
           DELETE FROM nebula.job_dependency d USING gone g WHERE d.child_id = g.job_id
         ), freed AS (
           DELETE FROM nebula.job_key k USING gone g WHERE k.unique_key = g.unique_key AND k.job_id = g.job_id
         )
         INSERT INTO nebula.job_finished
                (job_id, kind, payload, project_id, state, priority, attempt, max_attempts, errors, enqueued_at)
         SELECT job_id, kind, payload, project_id, 'cancelled', priority, attempt, max_attempts, errors, enqueued_at
           FROM gone
         RETURNING project_id",
    );
    static RUNNING: Plan = Plan::new(
        "UPDATE nebula.job_running SET cancel_requested = true WHERE job_id = $1 RETURNING project_id",
    );
    let project = |row: &Row<'_>| row.get::<Uuid>(1);
    // A claim moves it on and a retry moves it back between two looks, so look until it stands still.
    loop {
        if let Some(project) = WAITING.first(&[job.into()], project)? {
            dependency::cancel_children(job, "cancelled")?;
            wakeup::job_event(project, job, "cancel")?;
            return Ok("cancelled");
        }
        if let Some(project) = RUNNING.first(&[job.into()], project)? {
            wakeup::job_event(project, job, "cancel")?;
            return Ok("cancelling");
        }
        match state_of(job)?.as_deref() {
            Some(state @ ("succeeded" | "dead" | "cancelled")) => {
                return Err(Error::new(
                    Kind::WrongState,
                    format!("job {job} is {state} already"),
                    "Only waiting and running jobs can be cancelled.",
                ));
            }
            Some(_) => {}
            None => return Err(unknown(job)),
        }
    }
}
