//! Jobs that wait for other jobs.

use pgrx::Uuid;

use super::error::{state_of, unknown};
use super::position::{Place, kept, place, segment};
use super::unique_key;
use crate::direct::{IndexScan, KeyValue, Table};
use crate::pg::error::{Error, Kind, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::Statement;
use nebula_core::job_event::JobAction;

use crate::notify;

/// Makes `job` wait for the parents that have not succeeded and answers how many those are.
///
/// Parents stay locked until this transaction ends, so none can finish without seeing its new child.
pub(super) fn attach(job: i64, parents: &[i64], on_dead: &str) -> Result<i32> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.job_dependency (parent_id, child_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1",
    );
    // In one order for everybody, against deadlocks.
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    parents.dedup();
    let mut waiting = 0;
    for parent in parents {
        if parent == job {
            return Err(cycle(job, parent));
        }
        if must_wait_for(parent, on_dead)? && INSERT.exists(&[parent.into(), job.into()])? {
            waiting += 1;
        }
    }
    Ok(waiting)
}

/// Whether a parent must still succeed; it is locked then.
fn must_wait_for(parent: i64, on_dead: &str) -> Result<bool> {
    // Somebody may bring it back.
    static DEAD: Statement = Statement::new(
        "SELECT FROM nebula.job_finished WHERE job_id = $1 AND state <> 'succeeded' FOR KEY SHARE",
    );
    loop {
        match lock(parent)? {
            Some(Standing::Alive) => return Ok(true),
            Some(Standing::Succeeded) => return Ok(false),
            Some(Standing::Dead(_)) if on_dead == "block" => {
                if DEAD.exists(&[parent.into()])? {
                    return Ok(true);
                }
            }
            Some(Standing::Dead(state)) => {
                return Err(Error::new(
                    Kind::WrongState,
                    format!("job {parent} is {state}, so nothing can wait for it"),
                    "Bring it back with retry_job, or give on_dead => 'block' to wait for that.",
                ));
            }
            None => return Err(unknown(parent)),
        }
    }
}

/// How a job stands with those that wait for it.
pub(super) enum Standing {
    /// It may still succeed, and is locked against finishing.
    Alive,
    Succeeded,
    /// It is in this state, unless somebody brings it back.
    Dead(String),
}

/// Locks a job that may still succeed against finishing; `None` when there is no such job.
pub(super) fn lock(parent: i64) -> Result<Option<Standing>> {
    // KEY SHARE conflicts with the DELETE that moves a job on, but not with heartbeats.
    static WAITING: Statement = Statement::new(concat!(
        "SELECT ",
        place!(),
        " FROM nebula.job_waiting WHERE job_id = $1 FOR KEY SHARE"
    ));
    static RUNNING: Statement =
        Statement::new("SELECT FROM nebula.job_running WHERE job_id = $1 FOR KEY SHARE");
    // A claim moves it on and a retry moves it back between two looks, so look until it stands still.
    loop {
        if let Some(place) = WAITING.query_opt(&[parent.into()], Place::read)? {
            place.hold();
            return Ok(Some(Standing::Alive));
        }
        if RUNNING.exists(&[parent.into()])? {
            return Ok(Some(Standing::Alive));
        }
        match state_of(parent)? {
            Some(state) if state == "succeeded" => return Ok(Some(Standing::Succeeded)),
            Some(state) if state == "dead" || state == "cancelled" => {
                return Ok(Some(Standing::Dead(state)));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Makes a job that has not been claimed wait for more.
pub(super) fn depend(job: i64, parents: &[i64]) -> Result<()> {
    // New edges one at a time: two of them could close a circle that neither sees.
    static ALONE: Statement =
        Statement::new("SELECT pg_advisory_xact_lock(hashtext('nebula_job_dependency'))");
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        place!(),
        ", on_dead FROM nebula.job_waiting WHERE job_id = $1 FOR UPDATE"
    ));
    static ABOVE: Statement = Statement::new(
        "WITH RECURSIVE above AS (
           SELECT p.id FROM unnest($2) AS p(id)
           UNION SELECT d.parent_id FROM above a JOIN nebula.job_dependency d ON d.child_id = a.id
         )
         SELECT FROM above WHERE id = $1",
    );
    static BLOCK: Statement = Statement::new(
        "UPDATE nebula.job_waiting SET blocked_by = blocked_by + $2, ready = ready AND $2 = 0 WHERE job_id = $1",
    );
    ALONE.run(&[])?;
    let locked = LOCK.query_opt(&[job.into()], |row| Ok((Place::read(row)?, row.need::<String>(8)?)))?;
    let Some((place, on_dead)) = locked else {
        return Err(match state_of(job)? {
            Some(state) => Error::new(
                Kind::WrongState,
                format!("job {job} is {state}, so it can wait for nothing more"),
                "Only jobs that nobody has claimed can be made to wait.",
            ),
            None => unknown(job),
        });
    };
    place.hold();
    if ABOVE.exists(&[job.into(), parents.to_vec().into()])? {
        let named = parents.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::bad_argument(
            format!("job {job} cannot wait for {named}: that waits for job {job}"),
            "Jobs must not wait for each other in a circle.",
        ));
    }
    let more = attach(job, parents, &on_dead)?;
    BLOCK.run(&[job.into(), more.into()])
}

fn cycle(job: i64, parent: i64) -> Error {
    Error::bad_argument(
        format!("job {job} cannot wait for job {parent}, which is itself"),
        "Name jobs that exist already in depends_on.",
    )
}

static DEPENDENCY: Table = Table::new(c"job_dependency", &[c"parent_id"]);

/// Whether a job has children, as of now.
pub(super) fn has_children(parent: i64) -> Result<bool> {
    DEPENDENCY.exists(&IndexScan::exact(c"job_dependency_pkey", &[KeyValue::bigint(parent)]))
}

/// Whether any job has, as of now.
pub(super) fn has_any() -> Result<bool> {
    DEPENDENCY.exists(&IndexScan::exact(c"job_dependency_pkey", &[]))
}

/// Lets the children of a job that succeeded go on.
pub(super) fn release_children(parent: i64) -> Result<()> {
    // Children are locked in one order, because they may have other parents that finish just now.
    static RELEASE: Statement = Statement::new(concat!(
        "WITH freed AS (DELETE FROM nebula.job_dependency WHERE parent_id = $1 RETURNING child_id)
         UPDATE nebula.job_waiting
            SET blocked_by = blocked_by - 1, ready = blocked_by = 1 AND run_at <= clock_timestamp()
          WHERE job_id = ANY (ARRAY(SELECT w.job_id FROM nebula.job_waiting w
                                     WHERE w.job_id IN (SELECT child_id FROM freed)
                                     ORDER BY w.job_id FOR NO KEY UPDATE))
         RETURNING ",
        place!()
    ));
    // Most jobs have none, and this costs a hundredth of what follows.
    if !has_children(parent)? {
        return Ok(());
    }
    as_owner_by_index(|| RELEASE.query(&[parent.into()], Place::read)?.iter().try_for_each(Place::announce))
}

/// Cancels what waits for a job that is dead or cancelled, and what waits for that, except where it is to block. What it
/// waited for stays on record, so that it can come back.
pub(super) fn cancel_children(parent: i64, state: &str) -> Result<()> {
    // One level at a time, each with a fresh snapshot: an enqueuer that locked a child has then made its own visible.
    static LEVEL: Statement = Statement::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_waiting w
            USING nebula.job_dependency d WHERE d.parent_id = $1 AND w.job_id = d.child_id AND w.on_dead = 'cancel'
           RETURNING w.*
         )
         INSERT INTO nebula.job_finished (",
        kept!(),
        ", state, errors, segment)
         SELECT ",
        kept!(),
        ", 'cancelled', errors || jsonb_build_object('attempt', attempt, 'at', clock_timestamp(), 'worker', NULL, 'error',
                                                     format('job %s, which this one waits for, is %s', $1, $2)), ",
        segment!(),
        " FROM gone
         RETURNING job_id, project_id, unique_key"
    ));
    let mut frontier = vec![(parent, state.to_owned())];
    while let Some((job, state)) = frontier.pop() {
        let read = |row: &crate::pg::statement::Row<'_>| {
            Ok((row.need::<i64>(1)?, row.get::<Uuid>(2)?, row.get::<String>(3)?))
        };
        for (child, project, unique_key) in LEVEL.query(&[job.into(), state.into()], read)? {
            unique_key.map_or(Ok(()), |key| unique_key::free(&key, child))?;
            notify::job_event(project, child, JobAction::Cancel)?;
            frontier.push((child, "cancelled".to_owned()));
        }
    }
    Ok(())
}
