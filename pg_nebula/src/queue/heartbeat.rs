//! Heartbeats: a worker extends its lease and reports progress.

use nebula_core::job_event::JobAction;
use pgrx::prelude::*;

use super::request::{Heartbeat, check_size};
use super::store;
use crate::notify;
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::error::{Error, required, sql};

#[pg_extern]
fn heartbeat_job(
    job_id: Option<i64>,
    attempt: Option<i32>,
    progress: default!(Option<f32>, "NULL"),
    detail: default!(Option<Jsonb>, "NULL"),
) -> sql::Result<&'static str> {
    let (job, attempt) = (required(job_id, "job_id")?, required(attempt, "attempt")?);
    if let Some(value) = progress
        && !(0.0..=1.0).contains(&value)
    {
        return Err(Error::bad_argument(
            format!("progress {value} of job {job} is out of range"),
            "Give a fraction from 0 to 1.",
        )
        .into());
    }
    check_size("detail", job, detail.as_ref())?;
    let reports_progress = progress.is_some() || detail.is_some();
    let extended = store::extend_lease(&Heartbeat { job, attempt, progress, detail })?;
    if reports_progress {
        notify::job_event(extended.project, job, JobAction::Progress)?;
    }
    Ok(if extended.cancel_requested { "cancel" } else { "continue" })
}
