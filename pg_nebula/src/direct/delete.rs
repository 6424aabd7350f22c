//! DELETE without an executor.
#![expect(unsafe_code, reason = "the table access method is a C interface")]

use std::ptr::null_mut;

use pgrx::prelude::*;

use super::handle::TableHandle;
use super::index_scan::IndexScan;
use super::relation::{OpenRelation, WRITE, require_writable};
use super::row::FoundRow;
use super::snapshot::latest_version;
use crate::pg::error::Result;

impl TableHandle {
    /// `DELETE … RETURNING` of the one row of the scan for which `read` returns `Some`; returns that value.
    /// `None` when nothing was deleted: there is no such row or more than one, or another transaction has
    /// locked or changed it.
    pub(super) fn delete<T>(
        &self,
        scan: &IndexScan<'_>,
        read: impl Fn(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        require_writable(c"DELETE");
        let index = self.index_of(scan)?;
        let (table, index) = (self.open(), OpenRelation::index(index.oid, WRITE));
        let (mut found, mut is_only) = (None, true);
        // SAFETY: `index_of` has checked the index. The row lies where the scan has found it; if it was
        // changed meanwhile, the result says so.
        unsafe {
            scan.run(&table, &index, &mut latest_version(), |slot| {
                if let Some(answer) = read(&FoundRow { slot, column_numbers: &self.column_numbers }) {
                    is_only = found.is_none();
                    found = Some(((*slot).tts_tid, answer));
                }
                is_only
            });
            let Some((mut tid, answer)) = found.filter(|_| is_only) else { return Ok(None) };
            let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
            let result = pg_sys::table_tuple_delete(
                table.0,
                &mut tid,
                pg_sys::GetCurrentCommandId(true),
                pg_sys::GetActiveSnapshot(),
                null_mut(),
                false,
                &mut failure,
                false,
            );
            pg_sys::CommandCounterIncrement();
            Ok((result == pg_sys::TM_Result::TM_Ok).then_some(answer))
        }
    }
}
