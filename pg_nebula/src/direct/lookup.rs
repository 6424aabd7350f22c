//! SELECT without an executor.
#![expect(unsafe_code, reason = "snapshots are C structures")]

use pgrx::pg_sys;

use super::handle::TableHandle;
use super::index_scan::IndexScan;
use super::relation::OpenRelation;
use super::row::FoundRow;
use super::snapshot::{RegisteredSnapshot, latest_version};
use crate::pg::error::Result;

impl TableHandle {
    /// Whether the scan finds a row that is committed now or written by this transaction.
    pub(super) fn exists(&self, table: &OpenRelation, scan: &IndexScan<'_>) -> Result<bool> {
        let index = self.index_of(scan)?.open_for_reading();
        let mut found = false;
        // SAFETY: `index_of` has checked the index.
        unsafe {
            scan.run(table, &index, &mut latest_version(), |_| {
                found = true;
                false
            });
        }
        Ok(found)
    }

    /// The first answer of `read` to the rows that the scan finds: in the snapshot of the caller's statement, or `now`,
    /// which a caller needs that looks again and again until other sessions have made room.
    pub(super) fn first<T>(
        &self,
        scan: &IndexScan<'_>,
        now: bool,
        mut read: impl FnMut(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.require_columns()?;
        let (table, index) = (self.open(), self.index_of(scan)?.open_for_reading());
        let latest = now.then(RegisteredSnapshot::new);
        let mut answer = None;
        // SAFETY: `index_of` has checked the index. Inside a function call there is an active snapshot until
        // it ends.
        unsafe {
            let snapshot = latest.as_ref().map_or_else(|| pg_sys::GetActiveSnapshot(), |latest| latest.0);
            scan.run(&table, &index, snapshot, |slot| {
                answer = read(&FoundRow { slot, column_numbers: &self.column_numbers });
                answer.is_none()
            });
        }
        Ok(answer)
    }
}
