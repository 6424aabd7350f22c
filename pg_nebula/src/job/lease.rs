//! Leases: keeping a job, and taking it from workers that fell silent.

use pgrx::Uuid;

use super::finish::{self, Attempt, attempt};
use crate::error::{Error, Kind, Result};
use crate::instant::Instant;
use crate::jsonb::Jsonb;
use crate::map;
use crate::plan::Plan;
use crate::wakeup::{self, Action};

pub(super) fn heartbeat(
    job: i64,
    attempt: i32,
    progress: Option<f32>,
    detail: Option<Jsonb>,
) -> Result<&'static str> {
    static EXTEND: Plan = Plan::new(
        "UPDATE nebula.job_running
            SET lease_until = clock_timestamp() + lease, progress = coalesce($3, progress), detail = coalesce($4, detail)
          WHERE job_id = $1 AND attempt = $2 RETURNING cancel_requested, project_id",
    );
    if let Some(value) = progress
        && !(0.0..=1.0).contains(&value)
    {
        return Err(Error::bad_argument(
            format!("progress {value} of job {job} is out of range"),
            "Give a fraction from 0 to 1.",
        ));
    }
    let news = progress.is_some() || detail.is_some();
    let (cancel, project) = EXTEND
        .first(&[job.into(), attempt.into(), progress.into(), detail.into()], |row| {
            Ok((row.need::<bool>(1)?, row.get::<Uuid>(2)?))
        })?
        .ok_or_else(|| lost(job, attempt))?;
    if news {
        wakeup::job_event(project, job, Action::Progress)?;
    }
    Ok(if cancel { "cancel" } else { "continue" })
}

/// Takes jobs away from workers whose lease ran out; answers how many.
pub(super) fn rescue() -> Result<i32> {
    // A worker that extends its lease just now holds the row, and keeps the job.
    static EXPIRED: Plan = Plan::new(concat!(
        "SELECT ",
        attempt!(),
        ", worker FROM nebula.job_running WHERE lease_until < $1 ORDER BY job_id FOR UPDATE SKIP LOCKED"
    ));
    static NEXT: Plan = Plan::new("SELECT min(lease_until) FROM nebula.job_running WHERE lease_until >= $1");
    // One moment for both, so that no lease runs out between them.
    let now = Instant(map::clock());
    let expired = EXPIRED.rows(&[now.into()], |row| Ok((Attempt::read(row)?, row.need::<String>(6)?)))?;
    for (attempt, worker) in &expired {
        finish::end_failed(attempt, &format!("lease expired, worker {worker}"), true)?;
    }
    let next: Option<Instant> = NEXT.first(&[now.into()], |row| row.get(1))?.flatten();
    wakeup::looked(|clock| &mut clock.lease, next.map(|at| at.0 + 1));
    Ok(i32::try_from(expired.len()).unwrap_or(i32::MAX))
}

/// The error for a worker whose job went to somebody else.
pub(super) fn lost(job: i64, attempt: i32) -> Error {
    Error::new(
        Kind::WrongState,
        format!("attempt {attempt} of job {job} has lost its lease"),
        "Drop the work: another attempt has it, or the job has finished.",
    )
}
