//! Cancelling jobs.

use nebula_core::job_event::JobAction;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::error::{state_of, unknown};
use super::position::Position;
use super::{dependency, unique_key};
use crate::notify;
use crate::pg::error::{Error, Kind, required, sql};
use crate::pg::statement::{Row, Statement};

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn cancel_job(job_id: Option<i64>) -> sql::Result<&'static str> {
    static WAITING: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_waiting WHERE job_id = $1 RETURNING *
         ), unlinked AS (
           DELETE FROM nebula.job_dependency d USING removed r WHERE d.child_id = r.job_id
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        job_columns!(),
        ", state, segment) SELECT ",
        job_columns!(),
        ", 'cancelled', ",
        current_segment!(),
        " FROM removed
         )
         SELECT project_id, unique_key, ",
        position_columns!(),
        " FROM removed"
    ));
    static RUNNING: Statement = Statement::new(
        "UPDATE nebula.job_running SET cancel_requested = true WHERE job_id = $1 RETURNING project_id",
    );
    let job = required(job_id, "job_id")?;
    // A claim or a retry can move the job between the two statements; then neither finds it, and we look
    // again.
    loop {
        let read =
            |row: &Row<'_>| Ok((row.get::<Uuid>(1)?, row.get::<String>(2)?, Position::read_from(row, 3)?));
        if let Some((project, unique_key, position)) = WAITING.query_opt(&[job.into()], read)? {
            position.note_locked();
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
                )
                .into());
            }
            Some(_) => {}
            None => return Err(unknown(job).into()),
        }
    }
}
