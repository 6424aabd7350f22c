//! Errors that several functions of the queue raise.

use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::Statement;

/// The state of a job; `None` if it does not exist.
pub(super) fn state_of(job: i64) -> Result<Option<String>> {
    static STATE: Statement = Statement::new(
        "SELECT CASE WHEN blocked_by > 0 THEN 'blocked' ELSE 'available' END
           FROM nebula.job_waiting WHERE job_id = $1
         UNION ALL SELECT 'running' FROM nebula.job_running WHERE job_id = $1
         UNION ALL SELECT state FROM nebula.job_finished WHERE job_id = $1",
    );
    STATE.query_opt(&[job.into()], |row| row.need(1))
}

/// The error for a job that does not exist.
pub(super) fn unknown(job: i64) -> Error {
    Error::new(
        Kind::Missing,
        format!("there is no job {job}"),
        "List jobs: SELECT job_id, kind, state FROM nebula.job_status.",
    )
}

/// The error for a call with an attempt that is no longer the running one.
pub(super) fn lost(job: i64, attempt: i32) -> Error {
    Error::new(
        Kind::WrongState,
        format!("attempt {attempt} of job {job} has lost its lease"),
        "Drop the work: another attempt has it, or the job has finished.",
    )
}
