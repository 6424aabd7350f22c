//! Bringing jobs back.

use pgrx::Uuid;

use super::error::{state_of, unknown};
use super::position::{Place, place};
use super::{restore_children, unique_key};
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::{Row, Statement};
use nebula_core::job_event::JobAction;

use crate::notify;

pub(super) fn retry(job: i64, attempts: i32) -> Result<()> {
    // The count of attempts goes on: a worker that still believes in an old one must not be right again.
    static FINISHED: Statement = Statement::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_finished WHERE job_id = $1 AND state IN ('dead', 'cancelled') RETURNING *
         )
         INSERT INTO nebula.job_waiting
                (job_id, kind, payload, project_id, priority, run_at, attempt, max_attempts, on_dead, node_id, capability,
                 unique_key, errors, enqueued_at)
         SELECT job_id, kind, payload, project_id, priority, now(), attempt, attempt + $2, on_dead, node_id, capability,
                unique_key, errors, enqueued_at
           FROM gone
         RETURNING ",
        place!(),
        ", project_id, unique_key"
    ));
    // One that waits for its time runs now.
    static WAITING: Statement = Statement::new(concat!(
        "UPDATE nebula.job_waiting SET run_at = least(run_at, now()), ready = true WHERE job_id = $1 AND blocked_by = 0
         RETURNING ",
        place!(),
        ", project_id, unique_key"
    ));
    if !(1..=1000).contains(&attempts) {
        return Err(Error::bad_argument(
            format!("attempts {attempts} is out of range"),
            "Give a number from 1 to 1000: how often it is tried again at most.",
        ));
    }
    let read = |row: &Row<'_>| Ok((Place::read(row)?, row.get::<Uuid>(8)?, row.get::<String>(9)?));
    let (place, project) = if let Some((place, project, unique_key)) =
        FINISHED.query_opt(&[job.into(), attempts.into()], read)?
    {
        if let Some(unique_key) = &unique_key
            && let Some(owner) = unique_key::take(unique_key, job, None)?
        {
            return Err(Error::new(
                Kind::Exists,
                format!("job {job} cannot come back: job {owner} has its unique_key now"),
                "Wait until that one has finished, or cancel it.",
            ));
        }
        restore_children::forget_parents(job)?;
        restore_children::descendants(job)?;
        (place, project)
    } else if let Some((place, project, _)) = WAITING.query_opt(&[job.into()], read)? {
        (place, project)
    } else {
        return Err(match state_of(job)? {
            Some(state) => Error::new(
                Kind::WrongState,
                format!("job {job} is {state}"),
                "Only dead and cancelled jobs can be brought back, and those that wait for their time.",
            ),
            None => unknown(job),
        });
    };
    place.announce()?;
    notify::job_event(project, job, JobAction::Retry)
}
