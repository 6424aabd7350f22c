//! SELECT without an executor.
#![expect(unsafe_code, reason = "snapshots are C structures")]

use pgrx::pg_sys;

use super::handle::TableHandle;
use super::index_scan::IndexScan;
use super::relation::OpenRelation;
use super::row::{FoundRow, deform};
use super::row_lock::is_locked_by_others;
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

    /// Calls `visit` with each row that the scan finds in a new snapshot, until it answers `false`, and with whether
    /// another transaction was locking the row then.
    pub(super) fn visit_now(
        &self,
        scan: &IndexScan<'_>,
        mut visit: impl FnMut(&FoundRow<'_>, bool) -> bool,
    ) -> Result<()> {
        self.require_columns()?;
        let (table, index) = (self.open(), self.index_of(scan)?.open_for_reading());
        let snapshot = RegisteredSnapshot::new();
        // SAFETY: `index_of` has checked the index; the snapshot is registered, and the scan's slot holds a row.
        unsafe {
            scan.run(&table, &index, snapshot.0, |slot| {
                deform(slot);
                let found = FoundRow { slot, column_numbers: &self.column_numbers };
                visit(&found, is_locked_by_others(slot, snapshot.0))
            });
        }
        Ok(())
    }

    /// The first answer of `read` to the rows that the scan finds, in the snapshot of the caller's statement.
    pub(super) fn first<T>(
        &self,
        scan: &IndexScan<'_>,
        mut read: impl FnMut(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.require_columns()?;
        let (table, index) = (self.open(), self.index_of(scan)?.open_for_reading());
        let mut answer = None;
        // SAFETY: `index_of` has checked the index. Inside a function call there is an active snapshot until
        // it ends.
        unsafe {
            scan.run(&table, &index, pg_sys::GetActiveSnapshot(), |slot| {
                answer = read(&FoundRow { slot, column_numbers: &self.column_numbers });
                answer.is_none()
            });
        }
        Ok(answer)
    }
}
