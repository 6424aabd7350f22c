//! Taking a job back whose lease ran out while its worker could not renew it.

use nebula_core::job_event::JobAction;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::position::Position;
use crate::notify::{self, scan};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Result, required, sql};
use crate::pg::limits::{WORKER, check_span, check_text};
use crate::pg::statement::{Row, Statement};

/// The job is the worker's again only while no other attempt has begun: its row waits with the number of this
/// attempt, and the last entry of its errors is that of the rescue, which is taken back too. The number
/// stays, so that calls which the worker makes meanwhile are those of the owner.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn reclaim_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    worker: Option<&str>,
    lease: default!(Option<Interval>, "'30 s'"),
) -> sql::Result<bool> {
    let (job, attempt) = (required(job_id, "job_id")?, required(attempt, "attempt")?);
    let (worker, lease) = (required(worker, "worker")?, required(lease, "lease")?);
    check_span("lease", lease, "30 s")?;
    check_text("worker", Some(worker), WORKER)?;
    Ok(take_back(job, attempt, worker, lease)? || is_owner(job, attempt, worker)?)
}

fn take_back(job: i64, attempt: i32, worker: &str, lease: Interval) -> Result<bool> {
    static BACK: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_waiting
            WHERE job_id = $1 AND attempt = $2 AND blocked_by = 0
              AND errors -> -1 ->> 'attempt' = $2::text
              AND errors -> -1 ->> 'error' = 'lease expired, worker ' || $3
           RETURNING *
         ), back AS (
           INSERT INTO nebula.job_running (",
        job_columns!(),
        ", worker, started_at, lease, lease_until, limited)
           SELECT ",
        job_columns!(errors = "errors - (-1)"),
        ", $3, clock_timestamp(), $4, clock_timestamp() + $4,
                  EXISTS (SELECT FROM nebula.job_policy p WHERE p.kind = removed.kind)
                  OR EXISTS (SELECT FROM nebula.job_quota)
             FROM removed
           RETURNING lease_until
         )
         SELECT back.lease_until, removed.project_id, ",
        position_columns!(),
        " FROM removed, back"
    ));
    let values = [job.into(), attempt.into(), worker.into(), lease.into()];
    let read =
        |row: &Row<'_>| Ok((row.need::<Timestamp>(1)?, row.get::<Uuid>(2)?, Position::read_from(row, 3)?));
    let Some((lease_until, project, position)) = BACK.query_opt(&values, read)? else { return Ok(false) };
    position.note_locked();
    scan::arm_lease(lease_until.0);
    notify::job_event(project, job, JobAction::Claim)?;
    Ok(true)
}

/// Whether the worker runs this attempt: it may have taken the job back by an earlier call.
fn is_owner(job: i64, attempt: i32, worker: &str) -> Result<bool> {
    static OWNED: Statement =
        Statement::new("SELECT FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 AND worker = $3");
    OWNED.exists(&[job.into(), attempt.into(), worker.into()])
}
