//! Projects of which only so many jobs run at once, whatever their kind.

use std::collections::HashMap;

use pgrx::Uuid;

use super::store;
use crate::pg::error::Result;
use crate::pg::statement::Statement;

/// How many jobs of a project may run.
pub(super) struct Quota {
    project: Uuid,
    max_running: i64,
}

/// Whether any project has a quota.
pub(super) fn exist() -> Result<bool> {
    static ANY: Statement = Statement::new("SELECT FROM nebula.job_quota LIMIT 1");
    ANY.exists(&[])
}

/// Whether this project has a quota.
pub(super) fn exists(project: Uuid) -> Result<bool> {
    static ONE: Statement = Statement::new("SELECT FROM nebula.job_quota WHERE project_id = $1");
    ONE.exists(&[project.into()])
}

/// Locks all quotas, so that claims run one at a time while there are any: none counts while another adds.
/// Claims lock them before any policy of a kind, against deadlocks.
pub(super) fn lock_all() -> Result<Vec<Quota>> {
    static LOCK: Statement = Statement::new(
        "SELECT project_id, max_running FROM nebula.job_quota ORDER BY project_id FOR NO KEY UPDATE",
    );
    LOCK.query(&[], |row| Ok(Quota { project: row.need(1)?, max_running: i64::from(row.need::<i32>(2)?) }))
}

/// The projects that have reached their quota. Quotas must be locked.
pub(super) fn full_projects(quotas: &[Quota]) -> Result<Vec<Uuid>> {
    if quotas.is_empty() {
        return Ok(Vec::new());
    }
    let running: HashMap<Option<Uuid>, i64> = store::count_limited(None)?;
    let is_full =
        |quota: &&Quota| running.get(&Some(quota.project)).copied().unwrap_or(0) >= quota.max_running;
    Ok(quotas.iter().filter(is_full).map(|quota| quota.project).collect())
}
