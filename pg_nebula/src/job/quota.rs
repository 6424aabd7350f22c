//! Projects of which only so many jobs run at once, whatever their kind.

use std::collections::HashMap;

use pgrx::Uuid;

use crate::error::Result;
use crate::plan::Plan;
use crate::table::{Search, Table, Value};

/// How many of a project may run.
pub(super) struct Quota {
    project: Uuid,
    max_running: i64,
}

static QUOTA: Table = Table::new(c"job_quota", &[c"project_id", c"max_running"]);
const BY_PROJECT: &std::ffi::CStr = c"job_quota_pkey";

/// Whether any project has one.
pub(super) fn are_there() -> Result<bool> {
    Ok(QUOTA.first(&Search::exact(BY_PROJECT, &[]), |_| Some(()))?.is_some())
}

/// Whether this project has one.
pub(super) fn has(project: Uuid) -> Result<bool> {
    let key = [Value::uuid(project)?];
    Ok(QUOTA.first(&Search::exact(BY_PROJECT, &key), |_| Some(()))?.is_some())
}

/// All of them, locked: claims take turns while there are any, so that none counts while another is adding. Before any lock
/// on a kind, against deadlocks.
pub(super) fn lock_all() -> Result<Vec<Quota>> {
    static LOCK: Plan = Plan::new(
        "SELECT project_id, max_running FROM nebula.job_quota ORDER BY project_id FOR NO KEY UPDATE",
    );
    LOCK.rows(&[], |row| Ok(Quota { project: row.need(1)?, max_running: i64::from(row.need::<i32>(2)?) }))
}

/// The projects that have as many running as they may.
pub(super) fn full(quotas: &[Quota]) -> Result<Vec<Uuid>> {
    static COUNT: Plan = Plan::new(
        "SELECT project_id, count(*) FROM nebula.job_running WHERE limited AND project_id = ANY ($1) GROUP BY project_id",
    );
    if quotas.is_empty() {
        return Ok(Vec::new());
    }
    let projects: Vec<Uuid> = quotas.iter().map(|quota| quota.project).collect();
    let running: HashMap<Uuid, i64> =
        COUNT.rows(&[projects.into()], |row| Ok((row.need(1)?, row.need(2)?)))?.into_iter().collect();
    let full =
        quotas.iter().filter(|quota| running.get(&quota.project).copied().unwrap_or(0) >= quota.max_running);
    Ok(full.map(|quota| quota.project).collect())
}
