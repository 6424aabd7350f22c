//! Leases: keeping a job, and taking it from workers that fell silent.

use crate::notify::timers;
use crate::pg::session;
use pgrx::{IntoDatum, Uuid};

use super::error::lost;
use super::fail::{self, Attempt, attempt};
use super::row::{RUNNING, RUNNING_BY_JOB, column};
use crate::direct::{IndexScan, KeyValue, UpdateOutcome};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::{self, Timestamp};
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::session::snapshot_is_fixed;
use crate::pg::statement::Statement;
use nebula_core::job_event::JobAction;

use crate::notify;

pub(super) fn heartbeat(
    job: i64,
    attempt: i32,
    progress: Option<f32>,
    detail: Option<Jsonb>,
) -> Result<&'static str> {
    if let Some(value) = progress
        && !(0.0..=1.0).contains(&value)
    {
        return Err(Error::bad_argument(
            format!("progress {value} of job {job} is out of range"),
            "Give a fraction from 0 to 1.",
        ));
    }
    let news = progress.is_some() || detail.is_some();
    let (cancel, project) = match extend(job, attempt, progress, detail.as_ref())? {
        Some(extended) => extended,
        None => as_owner_by_index(|| extend_by_sql(job, attempt, progress, detail))?,
    };
    if news {
        notify::job_event(project, job, JobAction::Progress)?;
    }
    Ok(if cancel { "cancel" } else { "continue" })
}

/// Whether it was to be cancelled, and its project.
type Extended = (bool, Option<Uuid>);

/// What `extend_by_sql` does, at a fraction of its cost. `None`: this needs SQL, or SQL has to say what is wrong.
fn extend(job: i64, attempt: i32, progress: Option<f32>, detail: Option<&Jsonb>) -> Result<Option<Extended>> {
    // What a fixed snapshot does not show must be told with 40001, which SQL does.
    if snapshot_is_fixed() {
        return Ok(None);
    }
    let now = Timestamp(session::clock());
    let revised =
        RUNNING.update(&IndexScan::exact(RUNNING_BY_JOB, &[KeyValue::bigint(job)]), |row, values| {
            (row.read(column::ATTEMPT) == Some(attempt)).then_some(())?;
            let extended = (row.read(column::CANCEL_REQUESTED)?, row.read(column::PROJECT));
            let until = timestamp::later(now, row.read(column::LEASE)?).ok()?;
            values[column::LEASE_UNTIL] = until.into_datum();
            if progress.is_some() {
                values[column::PROGRESS] = progress.into_datum();
            }
            if detail.is_some() {
                values[column::DETAIL] = detail.cloned().into_datum();
            }
            Some(extended)
        })?;
    Ok(match revised {
        UpdateOutcome::Updated(extended) => Some(extended),
        UpdateOutcome::NotFound | UpdateOutcome::UseSql => None,
    })
}

fn extend_by_sql(job: i64, attempt: i32, progress: Option<f32>, detail: Option<Jsonb>) -> Result<Extended> {
    static EXTEND: Statement = Statement::new(
        "UPDATE nebula.job_running
            SET lease_until = clock_timestamp() + lease, progress = coalesce($3, progress), detail = coalesce($4, detail)
          WHERE job_id = $1 AND attempt = $2 RETURNING cancel_requested, project_id",
    );
    EXTEND
        .query_opt(&[job.into(), attempt.into(), progress.into(), detail.into()], |row| {
            Ok((row.need(1)?, row.get(2)?))
        })?
        .ok_or_else(|| lost(job, attempt))
}

/// Takes jobs away from workers whose lease ran out; answers how many.
pub(super) fn rescue() -> Result<i32> {
    // A worker that extends its lease just now holds the row, and keeps the job.
    static EXPIRED: Statement = Statement::new(concat!(
        "SELECT ",
        attempt!(),
        ", worker FROM nebula.job_running WHERE lease_until < $1 ORDER BY job_id FOR UPDATE SKIP LOCKED"
    ));
    static NEXT: Statement =
        Statement::new("SELECT min(lease_until) FROM nebula.job_running WHERE lease_until >= $1");
    // One moment for both, so that no lease runs out between them.
    let now = Timestamp(session::clock());
    let expired = EXPIRED.query(&[now.into()], |row| Ok((Attempt::read(row)?, row.need::<String>(6)?)))?;
    for (attempt, worker) in &expired {
        fail::end_failed(attempt, &format!("lease expired, worker {worker}"), true)?;
    }
    let next: Option<Timestamp> = NEXT.query_opt(&[now.into()], |row| row.get(1))?.flatten();
    timers::reschedule(|timers| &mut timers.lease, next.map(|at| at.0 + 1));
    Ok(i32::try_from(expired.len()).unwrap_or(i32::MAX))
}
