//! What was cancelled because a job had died comes back with it.

use std::collections::VecDeque;

use pgrx::Uuid;

use super::dependency::{Standing, lock};
use super::unique_key;
use crate::pg::error::Result;
use crate::pg::statement::Statement;
use nebula_core::job_event::JobAction;

use crate::notify;

/// Brings back what waited for a job that has come back, and what waited for that; blocked, as it was. What still waits for
/// another that is dead stays cancelled until that comes back too, and so does what has lost its key.
pub(super) fn descendants(job: i64) -> Result<()> {
    // Cancelled by hand, a job waits for nobody any more: see cancel.rs. Locked, because another of its parents may come
    // back just now: whoever is second sees the work of the first.
    static CHILDREN: Statement = Statement::new(
        "SELECT f.job_id, f.unique_key, f.project_id
           FROM nebula.job_dependency d JOIN nebula.job_finished f ON f.job_id = d.child_id
          WHERE d.parent_id = $1 AND f.state = 'cancelled' ORDER BY f.job_id FOR UPDATE OF f",
    );
    static BACK: Statement = Statement::new(
        "WITH gone AS (
           DELETE FROM nebula.job_finished WHERE job_id = $1 AND state = 'cancelled' RETURNING *
         )
         INSERT INTO nebula.job_waiting
                (job_id, kind, payload, project_id, priority, run_at, ready, attempt, max_attempts, blocked_by, on_dead,
                 node_id, capability, unique_key, errors, enqueued_at)
         SELECT job_id, kind, payload, project_id, priority, run_at, false, attempt, max_attempts, $2, on_dead, node_id,
                capability, unique_key, errors, enqueued_at
           FROM gone",
    );
    // Level by level, so that of two ways to a job the longer one is gone to its end.
    let mut back = VecDeque::from([job]);
    while let Some(parent) = back.pop_front() {
        let children = CHILDREN.query(&[parent.into()], |row| {
            Ok((row.need::<i64>(1)?, row.get::<String>(2)?, row.get::<Uuid>(3)?))
        })?;
        for (child, unique_key, project) in children {
            let Some(blocked_by) = living_parents(child)? else { continue };
            if let Some(unique_key) = unique_key
                && unique_key::take(&unique_key, child, None)?.is_some()
            {
                continue;
            }
            BACK.run(&[child.into(), blocked_by.into()])?;
            notify::job_event(project, child, JobAction::Retry)?;
            back.push_back(child);
        }
    }
    Ok(())
}

/// How many a job waits for, all of them locked against finishing; `None` when one is dead or forgotten.
fn living_parents(child: i64) -> Result<Option<i32>> {
    static PARENTS: Statement =
        Statement::new("SELECT parent_id FROM nebula.job_dependency WHERE child_id = $1 ORDER BY parent_id");
    let mut living = 0;
    for parent in PARENTS.query(&[child.into()], |row| row.need(1))? {
        match lock(parent)? {
            Some(Standing::Alive) => living += 1,
            Some(Standing::Succeeded) => {}
            Some(Standing::Dead(_)) | None => return Ok(None),
        }
    }
    Ok(Some(living))
}

/// A job that is brought back itself waits for nobody.
pub(super) fn forget_parents(job: i64) -> Result<()> {
    static FORGET: Statement = Statement::new("DELETE FROM nebula.job_dependency WHERE child_id = $1");
    FORGET.run(&[job.into()])
}
