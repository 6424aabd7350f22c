//! Projects of which only so many jobs run at once, whatever their kind.

use std::collections::HashMap;

use pgrx::Uuid;

use super::row::{LIMITED, RUNNING, column};
use crate::direct::{CacheToken, IndexScan, KeyValue, Table};
use crate::pg::error::Result;
use crate::pg::statement::Statement;

/// How many of a project may run.
pub(super) struct Quota {
    project: Uuid,
    max_running: i64,
}

static QUOTA: Table = Table::new(c"job_quota", &[c"project_id", c"max_running"]);
const BY_PROJECT: &std::ffi::CStr = c"job_quota_pkey";

/// Whether any project has one.
pub(super) fn are_there() -> Result<bool> {
    Ok(QUOTA.first(&IndexScan::exact(BY_PROJECT, &[]), |_| Some(()))?.is_some())
}

/// Sees each of them, as of now.
pub(super) fn each(mut see: impl FnMut()) -> Result<CacheToken> {
    QUOTA.each(&IndexScan::exact(BY_PROJECT, &[]), |_| see())
}

/// Whether this project has one.
pub(super) fn has(project: Uuid) -> Result<bool> {
    let key = [KeyValue::uuid(project)?];
    Ok(QUOTA.first(&IndexScan::exact(BY_PROJECT, &key), |_| Some(()))?.is_some())
}

/// All of them, locked: claims take turns while there are any, so that none counts while another is adding. Before any lock
/// on a kind, against deadlocks.
pub(super) fn lock_all() -> Result<Vec<Quota>> {
    static LOCK: Statement = Statement::new(
        "SELECT project_id, max_running FROM nebula.job_quota ORDER BY project_id FOR NO KEY UPDATE",
    );
    LOCK.query(&[], |row| Ok(Quota { project: row.need(1)?, max_running: i64::from(row.need::<i32>(2)?) }))
}

/// The projects that have as many running as they may, as of now: whoever counts has the locks, and a snapshot may be older.
pub(super) fn full(quotas: &[Quota]) -> Result<Vec<Uuid>> {
    if quotas.is_empty() {
        return Ok(Vec::new());
    }
    let mut running: HashMap<Uuid, i64> = HashMap::new();
    RUNNING.each(&IndexScan::exact(LIMITED, &[]), |row| {
        if let Some(project) = row.read(column::PROJECT) {
            *running.entry(project).or_default() += 1;
        }
    })?;
    let full =
        quotas.iter().filter(|quota| running.get(&quota.project).copied().unwrap_or(0) >= quota.max_running);
    Ok(full.map(|quota| quota.project).collect())
}
