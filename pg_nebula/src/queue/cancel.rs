//! Stopping jobs.

use pgrx::Uuid;

use super::error::{state_of, unknown};
use super::position::{Place, kept, place, segment};
use super::{dependency, unique_key};
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::{Row, Statement};
use nebula_core::job_event::JobAction;

use crate::notify;

pub(super) fn cancel(job: i64) -> Result<&'static str> {
    static WAITING: Statement = Statement::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_waiting WHERE job_id = $1 RETURNING *
         ), unlinked AS (
           DELETE FROM nebula.job_dependency d USING gone g WHERE d.child_id = g.job_id
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        kept!(),
        ", state, errors, segment) SELECT ",
        kept!(),
        ", 'cancelled', errors, ",
        segment!(),
        " FROM gone
         )
         SELECT project_id, unique_key, ",
        place!(),
        " FROM gone"
    ));
    static RUNNING: Statement = Statement::new(
        "UPDATE nebula.job_running SET cancel_requested = true WHERE job_id = $1 RETURNING project_id",
    );
    // A claim moves it on and a retry moves it back between two looks, so look until it stands still.
    loop {
        let read =
            |row: &Row<'_>| Ok((row.get::<Uuid>(1)?, row.get::<String>(2)?, Place::read_from(row, 3)?));
        if let Some((project, unique_key, place)) = WAITING.query_opt(&[job.into()], read)? {
            place.hold();
            unique_key.map_or(Ok(()), |key| unique_key::free(&key, job))?;
            dependency::cancel_children(job, "cancelled")?;
            notify::job_event(project, job, JobAction::Cancel)?;
            return Ok("cancelled");
        }
        if let Some(project) = RUNNING.query_opt(&[job.into()], |row| row.get::<Uuid>(1))? {
            notify::job_event(project, job, JobAction::Cancel)?;
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
