//! Finding and deleting the one row of a key.
#![expect(unsafe_code, reason = "the table access method and index scans are C interfaces")]

use std::ptr::null_mut;

use pgrx::prelude::*;

use super::handle::{OpenRelation, READ, TableHandle, WRITE, refuse_if_read_only};
use super::index_scan::IndexScan;
use super::row::FoundRow;
use super::snapshot::as_of_now;

impl TableHandle {
    /// What `read` answers first of the rows that a search finds, as the present statement of the caller sees them.
    ///
    /// # Safety
    /// As [`IndexScan::each`].
    pub(super) unsafe fn first<T>(
        &self,
        index: pg_sys::Oid,
        search: &IndexScan<'_>,
        mut read: impl FnMut(&FoundRow<'_>) -> Option<T>,
    ) -> Option<T> {
        let (table, index) = (OpenRelation::table(self.table, READ), OpenRelation::index(index, READ));
        let mut found = None;
        // SAFETY: as promised; inside a function call there is an active snapshot, which lasts until it ends.
        unsafe {
            search.each(&table, &index, pg_sys::GetActiveSnapshot(), |slot| {
                found = read(&FoundRow { slot, column_numbers: &self.column_numbers });
                found.is_none()
            });
        }
        found
    }

    /// Deletes the one row of a key that `read` has an answer for, and gives that. `None`: there is none or more than one,
    /// or somebody is at it; nothing was done.
    ///
    /// # Safety
    /// As [`IndexScan::each`].
    pub(super) unsafe fn delete<T>(
        &self,
        index: pg_sys::Oid,
        search: &IndexScan<'_>,
        read: impl Fn(&FoundRow<'_>) -> Option<T>,
    ) -> Option<T> {
        refuse_if_read_only(c"DELETE");
        let (table, index) = (OpenRelation::table(self.table, WRITE), OpenRelation::index(index, WRITE));
        let (mut found, mut alone) = (None, true);
        // SAFETY: as promised; the row is where the scan found it, and if it is not the server says so.
        unsafe {
            search.each(&table, &index, &mut as_of_now(), |slot| {
                if let Some(answer) = read(&FoundRow { slot, column_numbers: &self.column_numbers }) {
                    alone = found.is_none();
                    found = Some(((*slot).tts_tid, answer));
                }
                alone
            });
            let (mut tid, answer) = found.filter(|_| alone)?;
            let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
            let (command, snapshot) = (pg_sys::GetCurrentCommandId(true), pg_sys::GetActiveSnapshot());
            let result = pg_sys::table_tuple_delete(
                table.0,
                &mut tid,
                command,
                snapshot,
                null_mut(),
                false,
                &mut failure,
                false,
            );
            pg_sys::CommandCounterIncrement();
            (result == pg_sys::TM_Result::TM_Ok).then_some(answer)
        }
    }
}
