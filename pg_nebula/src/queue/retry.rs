//! Bringing dead and cancelled jobs back.

use nebula_core::job_event::JobAction;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::error::{state_of, unknown};
use super::position::Position;
use super::{restore_children, unique_key};
use crate::notify;
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::{Row, Statement};

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn retry_job(job_id: Option<i64>, attempts: default!(Option<i32>, 5)) -> sql::Result<()> {
    let (job, attempts) = (required(job_id, "job_id")?, required(attempts, "attempts")?);
    if !(1..=1000).contains(&attempts) {
        return Err(Error::bad_argument(
            format!("attempts {attempts} is out of range"),
            "Give a number from 1 to 1000: how often it is tried again at most.",
        )
        .into());
    }
    let waiting = if let Some((waiting, unique_key)) = requeue_finished(job, attempts)? {
        if let Some(unique_key) = &unique_key
            && let Some(owner) = unique_key::take(unique_key, job, None)?
        {
            return Err(Error::new(
                Kind::Exists,
                format!("job {job} cannot be repeated: job {owner} has its unique_key now"),
                "Wait until that one has finished, or cancel it.",
            )
            .into());
        }
        restore_children::forget_parents(job)?;
        as_owner_by_index(|| restore_children::descendants(job))?;
        waiting
    } else {
        make_due(job)?.map_or_else(|| Err(wrong_state(job)?), Ok)?
    };
    waiting.position.notify_available()?;
    Ok(notify::job_event(waiting.project, job, JobAction::Retry)?)
}

/// A job that waits now.
struct WaitingJob {
    position: Position,
    project: Option<Uuid>,
}

impl WaitingJob {
    /// Reads the columns of `position_columns!()`, then the project.
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self { position: Position::read(row)?, project: row.get(8)? })
    }
}

/// Moves a dead or cancelled job back to nebula.job_waiting; returns its unique key too.
fn requeue_finished(job: i64, attempts: i32) -> Result<Option<(WaitingJob, Option<String>)>> {
    // Attempts are counted on: a worker that still has an old attempt must not become its owner again.
    static REQUEUE: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_finished WHERE job_id = $1 AND state IN ('dead', 'cancelled') RETURNING *
         )
         INSERT INTO nebula.job_waiting (",
        job_columns!(),
        ")
         SELECT ",
        job_columns!(run_at = "now()", max_attempts = "attempt + $2"),
        " FROM removed
         RETURNING ",
        position_columns!(),
        ", project_id, unique_key"
    ));
    REQUEUE.query_opt(&[job.into(), attempts.into()], |row| Ok((WaitingJob::read(row)?, row.get(9)?)))
}

/// Makes a job available that waits for its time.
fn make_due(job: i64) -> Result<Option<WaitingJob>> {
    static MAKE_DUE: Statement = Statement::new(concat!(
        "UPDATE nebula.job_waiting SET run_at = least(run_at, now()), ready = true
          WHERE job_id = $1 AND blocked_by = 0
         RETURNING ",
        position_columns!(),
        ", project_id"
    ));
    MAKE_DUE.query_opt(&[job.into()], WaitingJob::read)
}

/// The error for a job that cannot be brought back.
fn wrong_state(job: i64) -> Result<Error> {
    Ok(match state_of(job)? {
        Some(state) => Error::new(
            Kind::WrongState,
            format!("job {job} is {state}"),
            "Only dead and cancelled jobs can be repeated, and those that wait for their time.",
        ),
        None => unknown(job),
    })
}
