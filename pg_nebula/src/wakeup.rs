//! Telling listeners that something happened: the one place where this extension notifies.
//!
//! A plain NOTIFY in the caller's transaction, delivered when it commits. Receivers treat it as a hint and look.

use pgrx::Uuid;

use crate::error::Result;
use crate::plan::Plan;

/// Wakes workers: a job of this kind can be claimed now. Channel `nebula_job`.
pub(crate) fn job_available(kind: &str) -> Result<()> {
    static NOTIFY: Plan = Plan::new("SELECT pg_notify('nebula_job', $1)");
    NOTIFY.run(&[kind.into()])
}

/// Tells watchers what happened to a job. Channel `nebula_event`.
pub(crate) fn job_event(project: Option<Uuid>, job: i64, action: &str) -> Result<()> {
    static NOTIFY: Plan = Plan::new("SELECT nebula.notify_event($1, 'job', $2, $3)");
    NOTIFY.run(&[project.into(), job.to_string().into(), action.into()])
}
