//! Restoring jobs that were cancelled because a job they waited for had died, when that one is brought back.

use std::collections::VecDeque;

use nebula_core::job_event::JobAction;
use pgrx::Uuid;

use super::dependency::{ParentState, lock_parent};
use super::unique_key;
use crate::notify;
use crate::pg::error::Result;
use crate::pg::statement::Statement;

/// Restores the children of a job that was brought back, and their children, as blocked jobs. A child stays
/// cancelled while another of its parents is dead, and when another job has its unique key.
pub(super) fn descendants(job: i64) -> Result<()> {
    // Jobs cancelled by hand have no dependencies any more (cancel.rs), so they are not found. The rows are
    // locked because another parent may be brought back at the same time: the second session waits and then
    // sees what the first did.
    static CHILDREN: Statement = Statement::new(
        "SELECT f.job_id, f.unique_key, f.project_id
           FROM nebula.job_dependency d JOIN nebula.job_finished f ON f.job_id = d.child_id
          WHERE d.parent_id = $1 AND f.state = 'cancelled' ORDER BY f.job_id FOR UPDATE OF f",
    );
    static RESTORE: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_finished WHERE job_id = $1 AND state = 'cancelled' RETURNING *
         )
         INSERT INTO nebula.job_waiting (",
        job_columns!(),
        ", ready, blocked_by)
         SELECT ",
        job_columns!(),
        ", false, $2 FROM removed"
    ));
    // Breadth first: a job that can be reached on two ways is restored when the last of its parents has been.
    let mut restored = VecDeque::from([job]);
    while let Some(parent) = restored.pop_front() {
        let children = CHILDREN.query(&[parent.into()], |row| {
            Ok((row.need::<i64>(1)?, row.get::<String>(2)?, row.get::<Uuid>(3)?))
        })?;
        for (child, unique_key, project) in children {
            let Some(blocked_by) = lock_parents(child)? else { continue };
            if let Some(unique_key) = unique_key
                && unique_key::take(&unique_key, child, None)?.is_some()
            {
                continue;
            }
            RESTORE.run(&[child.into(), blocked_by.into()])?;
            notify::job_event(project, child, JobAction::Retry)?;
            restored.push_back(child);
        }
    }
    Ok(())
}

/// How many parents of a job have not succeeded yet, all locked against finishing; `None` when one is dead,
/// cancelled or pruned.
fn lock_parents(child: i64) -> Result<Option<i32>> {
    static PARENTS: Statement =
        Statement::new("SELECT parent_id FROM nebula.job_dependency WHERE child_id = $1 ORDER BY parent_id");
    let mut unfinished = 0;
    for parent in PARENTS.query(&[child.into()], |row| row.need(1))? {
        match lock_parent(parent)? {
            Some(ParentState::Unfinished) => unfinished += 1,
            Some(ParentState::Succeeded) => {}
            Some(ParentState::Failed(_)) | None => return Ok(None),
        }
    }
    Ok(Some(unfinished))
}

/// Removes the dependencies of a job: one that is brought back itself waits for no other job.
pub(super) fn forget_parents(job: i64) -> Result<()> {
    static FORGET: Statement = Statement::new("DELETE FROM nebula.job_dependency WHERE child_id = $1");
    FORGET.run(&[job.into()])
}
