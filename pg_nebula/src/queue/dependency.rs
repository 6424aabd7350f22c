//! Jobs that wait for other jobs: a child waits until all of its parents have succeeded.

use nebula_core::job_event::JobAction;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::error::{state_of, unknown};
use super::position::Position;
use super::{store, unique_key};
use crate::notify;
use crate::pg::advisory_lock::{AdvisoryLock, LockSpace};
use crate::pg::error::{Error, Kind, Result, required, required_elements, sql};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::{Row, Statement};

/// Children of one generation of which watchers are told one by one.
const MAX_EVENTS: usize = 1000;

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn depend_job(job_id: Option<i64>, depends_on: Option<Vec<Option<i64>>>) -> sql::Result<()> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        position_columns!(),
        ", on_dead FROM nebula.job_waiting WHERE job_id = $1 FOR UPDATE"
    ));
    static BLOCK: Statement = Statement::new(
        "UPDATE nebula.job_waiting SET blocked_by = blocked_by + $2, ready = ready AND $2 = 0
          WHERE job_id = $1",
    );
    let parents = required_elements(required(depends_on, "depends_on")?, "depends_on")?;
    let job = required(job_id, "job_id")?;
    // Calls run one at a time: two that add a dependency each could close a circle that neither sees.
    AdvisoryLock::acquire(LockSpace::JobDependencies, 0, 0);
    let locked = LOCK.query_opt(&[job.into()], |row| Ok((Position::read(row)?, row.need::<String>(8)?)))?;
    let Some((position, on_dead)) = locked else {
        return Err(match state_of(job)? {
            Some(state) => Error::new(
                Kind::WrongState,
                format!("job {job} is {state}, so it cannot wait for other jobs"),
                "Only jobs that no worker has claimed can wait for others.",
            ),
            None => unknown(job),
        }
        .into());
    };
    position.note_locked();
    refuse_circle(job, &parents)?;
    let added = add_parents(job, &parents, &on_dead)?;
    Ok(BLOCK.run(&[job.into(), added.into()])?)
}

/// Refuses parents that wait for the job themselves, directly or through others.
fn refuse_circle(job: i64, parents: &[i64]) -> Result<()> {
    static IS_ANCESTOR: Statement = Statement::new(
        "WITH RECURSIVE ancestor AS (
           SELECT p.id FROM unnest($2) AS p(id)
           UNION SELECT d.parent_id FROM ancestor a JOIN nebula.job_dependency d ON d.child_id = a.id
         )
         SELECT FROM ancestor WHERE id = $1",
    );
    if !IS_ANCESTOR.exists(&[job.into(), parents.to_vec().into()])? {
        return Ok(());
    }
    let named = parents.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::bad_argument(
        format!("job {job} cannot wait for {named}: that waits for job {job}"),
        "Jobs must not wait for each other in a circle.",
    ))
}

/// Makes `job` wait for the parents that have not succeeded yet; returns how many those are.
///
/// Parents stay locked until this transaction ends, so none can finish without seeing its new child.
pub(super) fn add_parents(job: i64, parents: &[i64], on_dead: &str) -> Result<i32> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.job_dependency (parent_id, child_id) VALUES ($1, $2)
         ON CONFLICT DO NOTHING RETURNING 1",
    );
    // All sessions lock parents in one order, against deadlocks.
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    parents.dedup();
    let mut added = 0;
    for parent in parents {
        if parent == job {
            return Err(Error::bad_argument(
                format!("job {job} cannot wait for job {parent}, which is itself"),
                "Name jobs that exist already in depends_on.",
            ));
        }
        if must_wait_for(parent, on_dead)? && INSERT.exists(&[parent.into(), job.into()])? {
            added += 1;
        }
    }
    Ok(added)
}

/// Whether a parent has not succeeded yet; locks it if so.
fn must_wait_for(parent: i64, on_dead: &str) -> Result<bool> {
    static LOCK_FAILED: Statement = Statement::new(
        "SELECT FROM nebula.job_finished WHERE job_id = $1 AND state <> 'succeeded' FOR KEY SHARE",
    );
    loop {
        match lock_parent(parent)? {
            Some(ParentState::Unfinished) => return Ok(true),
            Some(ParentState::Succeeded) => return Ok(false),
            Some(ParentState::Failed(_)) if on_dead == "block" => {
                // If it was brought back meanwhile, its row is gone, and we look again.
                if LOCK_FAILED.exists(&[parent.into()])? {
                    return Ok(true);
                }
            }
            Some(ParentState::Failed(state)) => {
                return Err(Error::new(
                    Kind::WrongState,
                    format!("job {parent} is {state}, so nothing can wait for it"),
                    "Repeat it with retry_job, or give on_dead => 'block' to wait for that.",
                ));
            }
            None => return Err(unknown(parent)),
        }
    }
}

/// Whether a parent can still succeed.
pub(super) enum ParentState {
    /// It can, and is locked against finishing.
    Unfinished,
    Succeeded,
    /// It is dead or cancelled, as this state says; only retry_job brings it back.
    Failed(String),
}

/// Locks a job that has not finished against finishing; `None` when there is no such job.
pub(super) fn lock_parent(parent: i64) -> Result<Option<ParentState>> {
    // KEY SHARE conflicts with the DELETE that moves the job to another table, but not with heartbeats.
    static WAITING: Statement = Statement::new(concat!(
        "SELECT ",
        position_columns!(),
        " FROM nebula.job_waiting WHERE job_id = $1 FOR KEY SHARE"
    ));
    static RUNNING: Statement =
        Statement::new("SELECT FROM nebula.job_running WHERE job_id = $1 FOR KEY SHARE");
    // A claim or a retry can move the job between the statements; then none finds it, and we look again.
    loop {
        if let Some(position) = WAITING.query_opt(&[parent.into()], Position::read)? {
            position.note_locked();
            return Ok(Some(ParentState::Unfinished));
        }
        if RUNNING.exists(&[parent.into()])? {
            return Ok(Some(ParentState::Unfinished));
        }
        match state_of(parent)? {
            Some(state) if state == "succeeded" => return Ok(Some(ParentState::Succeeded)),
            Some(state) if state == "dead" || state == "cancelled" => {
                return Ok(Some(ParentState::Failed(state)));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Unblocks the children of a job that succeeded.
pub(super) fn release_children(parent: i64) -> Result<()> {
    // All sessions lock children in one order, because other parents of theirs may finish at the same time.
    static RELEASE: Statement = Statement::new(concat!(
        "WITH freed AS (DELETE FROM nebula.job_dependency WHERE parent_id = $1 RETURNING child_id)
         UPDATE nebula.job_waiting
            SET blocked_by = blocked_by - 1, ready = blocked_by = 1 AND run_at <= clock_timestamp()
          WHERE job_id = ANY (ARRAY(SELECT w.job_id FROM nebula.job_waiting w
                                     WHERE w.job_id IN (SELECT child_id FROM freed)
                                     ORDER BY w.job_id FOR NO KEY UPDATE))
         RETURNING ",
        position_columns!()
    ));
    // Most jobs have no children, and to look costs a hundredth of the statement.
    if !store::has_children(Some(parent))? {
        return Ok(());
    }
    let released = as_owner_by_index(|| RELEASE.query(&[parent.into()], Position::read))?;
    released.iter().try_for_each(Position::notify_available)
}

/// Cancels the children of a job that is dead or cancelled, and their children, except those that are to stay
/// blocked. The dependencies are kept: retry_job restores the children by them.
pub(super) fn cancel_children(parent: i64, state: &str) -> Result<()> {
    // One statement for each generation, so that each has a new snapshot: an enqueue that locked one of the
    // parents has committed by then, and its own child is seen.
    static CANCEL: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_waiting w
            USING unnest($1) AS p(parent_id)
             JOIN nebula.job_dependency d USING (parent_id)
            WHERE w.job_id = d.child_id AND w.on_dead = 'cancel'
           RETURNING w.*, p.parent_id
         )
         INSERT INTO nebula.job_finished (",
        job_columns!(),
        ", state, segment)
         SELECT ",
        job_columns!(
            errors = errors_with!("NULL", "format('job %s, which this one waits for, is %s', parent_id, $2)")
        ),
        ", 'cancelled', ",
        current_segment!(),
        " FROM removed
         RETURNING job_id, project_id, unique_key"
    ));
    let (mut parents, mut state) = (vec![parent], state);
    while !parents.is_empty() {
        let read = |row: &Row<'_>| Ok((row.need::<i64>(1)?, row.get::<Uuid>(2)?, row.get::<String>(3)?));
        let values = [parents.into(), state.into()];
        let children = as_owner_by_index(|| CANCEL.query(&values, read))?;
        let keys = children.iter().filter_map(|(child, _, key)| Some((key.clone()?, *child))).collect();
        as_owner_by_index(|| unique_key::free_all(keys))?;
        if children.len() > MAX_EVENTS {
            notify::many_events()?;
        } else {
            children
                .iter()
                .try_for_each(|(child, project, _)| notify::job_event(*project, *child, JobAction::Cancel))?;
        }
        parents = children.into_iter().map(|(child, ..)| child).collect();
        state = "cancelled";
    }
    Ok(())
}
