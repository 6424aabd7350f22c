//! `WITH moved AS (DELETE … RETURNING *) INSERT … SELECT … FROM moved` in READ COMMITTED, without an
//! executor. Other transactions see each row in exactly one of the two tables.
#![expect(unsafe_code, reason = "the table access method is a C interface")]

use pgrx::prelude::*;

use super::MovedRows;
use super::handle::TableHandle;
use super::index_scan::IndexScan;
use super::relation::{OpenRelation, WRITE, require_writable};
use super::row::{FoundRow, deform};
use super::row_lock::{DeleteOutcome, delete, is_locked_by_others};
use super::snapshot::RegisteredSnapshot;
use crate::pg::error::Result;

impl TableHandle {
    /// Moves at most `max` rows that the scans find, one scan after the other, into `to`. `map_row` fills in
    /// the new row and answers something, or skips the row by `None`. Rows that other transactions have
    /// locked are skipped, as by SKIP LOCKED; with `wait` they are waited for, and then each scan ends with
    /// the first row that it moves.
    ///
    /// All scans read the same index; the values have the types of the columns of `to`.
    pub(super) fn move_rows<T>(
        &self,
        to: &Self,
        scans: &[IndexScan<'_>],
        max: usize,
        wait: bool,
        mut map_row: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Result<MovedRows<T>> {
        let mut moved = MovedRows { rows: Vec::new(), needs_sql: false };
        let Some(first) = scans.first() else { return Ok(moved) };
        require_writable(c"DELETE");
        let index = self.index_of(first)?;
        let (table, target) = (self.open(), to.open());
        let open_index = OpenRelation::index(index.oid, WRITE);
        let mut values = vec![None; to.column_numbers.len()];
        // With `wait` the rows are known, and the statement's snapshot usually shows their latest version.
        // Without it the rows that exist now are wanted, which takes a new snapshot.
        let (mut snapshot, mut is_latest) =
            if wait { RegisteredSnapshot::of_statement() } else { (RegisteredSnapshot::new(), true) };
        let mut scans = scans.iter();
        let mut next = scans.next();
        while let Some(scan) = next {
            if self.index_of(scan)?.oid != index.oid {
                return Err(crate::pg::error::Error::corrupt_schema("index of a table of the extension"));
            }
            let (mut conflict, before) = (false, moved.rows.len());
            // SAFETY: `index_of` has checked the index; the snapshot is registered. The slot stays filled
            // while the row is mapped and deleted.
            unsafe {
                scan.run(&table, &open_index, snapshot.0, |slot| {
                    if !wait && is_locked_by_others(slot, snapshot.0) {
                        return true;
                    }
                    deform(slot);
                    let found = FoundRow { slot, column_numbers: &self.column_numbers };
                    let Some(answer) = map_row(&found, &mut values) else { return true };
                    // Checked before the row is deleted, so that SQL can still move it, or raise the error.
                    if !to.accepts(&target, &values) {
                        moved.needs_sql = true;
                        return false;
                    }
                    match delete(&table, slot, snapshot.0, wait) {
                        DeleteOutcome::Deleted => {
                            to.insert_slot(&target);
                            moved.rows.push(answer);
                        }
                        DeleteOutcome::Locked => {}
                        DeleteOutcome::Changed => conflict = true,
                    }
                    moved.rows.len() < max && !wait
                });
            }
            if moved.needs_sql || moved.rows.len() >= max {
                break;
            }
            let has_moved = moved.rows.len() > before;
            if wait && has_moved || is_latest && !conflict {
                next = scans.next();
            }
            // A row that another transaction has changed is looked at in its new version. The scans of a
            // caller that skips locked rows overlap: rows that were moved must not be found again.
            if (!wait && has_moved) || (!has_moved && !is_latest) || conflict {
                snapshot = RegisteredSnapshot::new();
                is_latest = true;
            }
        }
        // SAFETY: inside a transaction; later commands see what was written.
        unsafe { pg_sys::CommandCounterIncrement() };
        Ok(moved)
    }
}
