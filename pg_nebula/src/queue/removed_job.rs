//! Jobs whose row has left nebula.job_running.

use pgrx::Uuid;

use crate::pg::error::Result;
use crate::pg::statement::Row;

/// The values of the deleted row that decide what else has to be done.
pub(super) struct RemovedJob {
    pub(super) job: i64,
    pub(super) project: Option<Uuid>,
    pub(super) unique_key: Option<String>,
    /// Its kind, if the job counted towards a limit: another job may start now.
    pub(super) limited_kind: Option<String>,
}

impl RemovedJob {
    /// Reads the columns of `removed_columns!()`.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            job: row.need(1)?,
            project: row.get(2)?,
            unique_key: row.get(3)?,
            limited_kind: row.get(4)?,
        })
    }
}
