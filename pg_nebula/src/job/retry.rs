//! Bringing jobs back.

use pgrx::Uuid;

use super::place::{Place, place};
use super::{key, revive, state_of, unknown};
use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, Row};
use crate::wakeup::{self, Action};

pub(super) fn retry(job: i64, attempts: i32) -> Result<()> {
    // The count of attempts goes on: a worker that still believes in an old one must not be right again.
    static FINISHED: Plan = Plan::new(concat!(
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
    static WAITING: Plan = Plan::new(concat!(
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
    let (place, project) =
        if let Some((place, project, unique_key)) = FINISHED.first(&[job.into(), attempts.into()], read)? {
            if let Some(unique_key) = &unique_key
                && let Some(owner) = key::take(unique_key, job, None)?
            {
                return Err(Error::new(
                    Kind::Exists,
                    format!("job {job} cannot come back: job {owner} has its unique_key now"),
                    "Wait until that one has finished, or cancel it.",
                ));
            }
            revive::forget_parents(job)?;
            revive::descendants(job)?;
            (place, project)
        } else if let Some((place, project, _)) = WAITING.first(&[job.into()], read)? {
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
    wakeup::job_event(project, job, Action::Retry)
}
