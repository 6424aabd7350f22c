//! UPDATE without an executor.
#![expect(unsafe_code, reason = "the table access method and slots are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES;
use pgrx::pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
use pgrx::pg_sys::TM_Result;
use pgrx::pg_sys::TM_Result::{TM_Ok, TM_WouldBlock};
use pgrx::prelude::*;

use super::handle::TableHandle;
use super::index::Index;
use super::index_scan::IndexScan;
use super::relation::{OpenRelation, WRITE, require_writable};
use super::row::{FoundRow, deform};
use super::row_lock::{is_locked_by_others, lock};
use super::snapshot::RegisteredSnapshot;
use super::version;
use super::{Change, UnlockedUpdate, UpdateOutcome};
use crate::pg::error::Result;

impl TableHandle {
    /// `UPDATE … RETURNING` in READ COMMITTED, of the first row of the scan for which `change` returns
    /// `Some`: waits for transactions that change the row, then reads it again. `change` gets the values of
    /// the columns in the table's list and replaces them by the new ones.
    pub(super) fn update<T>(
        &self,
        scan: &IndexScan<'_>,
        mut change: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Result<UpdateOutcome<T>> {
        require_writable(c"UPDATE");
        let index = self.index_of(scan)?;
        let (table, index) = (self.open(), OpenRelation::index(index.oid, WRITE));
        let mut values = vec![None; self.column_numbers.len()];
        let (mut snapshot, mut is_latest) = RegisteredSnapshot::of_statement();
        loop {
            let (mut outcome, mut conflict) = (UpdateOutcome::NotFound, false);
            // SAFETY: `index_of` has checked the index; the snapshot is registered.
            unsafe {
                scan.run(&table, &index, snapshot.0, |slot| {
                    deform(slot);
                    let found = FoundRow { slot, column_numbers: &self.column_numbers };
                    for (column, value) in values.iter_mut().enumerate() {
                        *value = found.get(column);
                    }
                    let Some(answer) = change(&found, &mut values) else { return true };
                    if !self.accepts_version(slot, &values) {
                        outcome = UpdateOutcome::UseSql;
                    } else if self.replace(&table, slot, snapshot.0) == TM_Ok {
                        outcome = UpdateOutcome::Updated(answer);
                    } else {
                        conflict = true;
                    }
                    false
                });
                pg_sys::CommandCounterIncrement();
            }
            if !conflict && (is_latest || !matches!(outcome, UpdateOutcome::NotFound)) {
                return Ok(outcome);
            }
            snapshot = RegisteredSnapshot::new();
            is_latest = true;
        }
    }

    /// `UPDATE … RETURNING` in READ COMMITTED, of the first row of the scan that `change` changes and that no other
    /// transaction has locked or changed since the snapshot, which is taken now.
    pub(super) fn update_unlocked<T>(
        &self,
        scan: &IndexScan<'_>,
        mut change: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Change<T>,
    ) -> Result<UnlockedUpdate<T>> {
        require_writable(c"UPDATE");
        let index = self.index_of(scan)?;
        let (table, index) = (self.open(), OpenRelation::index(index.oid, WRITE));
        let mut values = vec![None; self.column_numbers.len()];
        let (mut outcome, mut has_changed) = (UpdateOutcome::NotFound, false);
        let snapshot = RegisteredSnapshot::new();
        // SAFETY: `index_of` has checked the index; the snapshot is registered.
        unsafe {
            scan.run(&table, &index, snapshot.0, |slot| {
                deform(slot);
                let found = FoundRow { slot, column_numbers: &self.column_numbers };
                for (column, value) in values.iter_mut().enumerate() {
                    *value = found.get(column);
                }
                let answer = match change(&found, &mut values) {
                    Change::To(answer) => answer,
                    Change::Stop => return false,
                };
                if is_locked_by_others(slot, snapshot.0) {
                    return true;
                }
                if !self.accepts_version(slot, &values) {
                    outcome = UpdateOutcome::UseSql;
                    return false;
                }
                // Locked first, because the server must not be asked to update a locked row without waiting.
                let mut result = lock(&table, slot, snapshot.0, LockTupleNoKeyExclusive);
                if result == TM_Ok {
                    result = self.replace(&table, slot, snapshot.0);
                }
                if result == TM_Ok {
                    outcome = UpdateOutcome::Updated(answer);
                    return false;
                }
                has_changed |= result != TM_WouldBlock;
                true
            });
            pg_sys::CommandCounterIncrement();
        }
        Ok(UnlockedUpdate { outcome, has_changed })
    }

    /// Writes the row in the slot of this handle as the new version of the row in `old`, after waiting for transactions
    /// that hold the row. Not `TM_Ok`: nothing was done, because one of them has changed it.
    ///
    /// # Safety
    /// [`TableHandle::accepts_version`] has filled the slot from `old`, a row that the snapshot shows.
    unsafe fn replace(
        &self,
        table: &OpenRelation,
        old: *mut pg_sys::TupleTableSlot,
        snapshot: pg_sys::Snapshot,
    ) -> TM_Result::Type {
        // SAFETY: as the caller promises; the server fills what is zeroed here.
        unsafe {
            let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
            let (mut lock_mode, mut entries): (pg_sys::LockTupleMode::Type, version::NewEntries) =
                std::mem::zeroed();
            let result = pg_sys::table_tuple_update(
                table.0,
                &mut (*old).tts_tid,
                self.slot,
                pg_sys::GetCurrentCommandId(true),
                snapshot,
                null_mut(),
                true,
                &mut failure,
                &mut lock_mode,
                &mut entries,
            );
            if result == TM_Ok {
                for index in self.indexes.iter().filter(|index| version::needs_entry(&*index.info, entries)) {
                    let is_unchanged = self.has_same_key(index, old);
                    self.insert_entries(table, index, &[self.slot], UNIQUE_CHECK_YES, is_unchanged);
                }
            }
            pg_sys::MemoryContextReset(self.row_memory());
            result
        }
    }

    /// Whether the columns of an index have datums that are bitwise equal to those of the old row. A hint for
    /// the index: pointers are not followed.
    ///
    /// # Safety
    /// Both slots hold rows of the table, and all columns of `old` are deformed.
    unsafe fn has_same_key(&self, index: &Index, old: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as the caller promises; an index has as many columns as it says. Column numbers start at 1;
        // 0 stands for an expression.
        unsafe {
            let info = &*index.info;
            let keys = usize::try_from(info.ii_NumIndexKeyAttrs).unwrap_or(0);
            info.ii_IndexAttrNumbers[..keys].iter().all(|number| {
                usize::try_from(*number).ok().and_then(|number| number.checked_sub(1)).is_some_and(|number| {
                    *(*old).tts_isnull.add(number) == *(*self.slot).tts_isnull.add(number)
                        && *(*old).tts_values.add(number) == *(*self.slot).tts_values.add(number)
                })
            })
        }
    }

    /// Fills the slot of this handle with the row in `old`, but for the values given; whether it meets all
    /// constraints but unique ones.
    ///
    /// # Safety
    /// All columns of `old`, a row of the table, are deformed; the values have the types of the columns in
    /// the list.
    unsafe fn accepts_version(
        &self,
        old: *mut pg_sys::TupleTableSlot,
        values: &[Option<pg_sys::Datum>],
    ) -> bool {
        // SAFETY: as the caller promises; both slots have as many values as the table has columns.
        unsafe {
            pg_sys::MemoryContextReset(self.row_memory());
            self.fill(self.slot, values);
            let attributes = version::attributes(self.descriptor).iter().enumerate();
            for (number, attribute) in attributes {
                // A dropped column becomes NULL in the new version.
                if !attribute.attisdropped && !self.column_numbers.contains(&number) {
                    *(*self.slot).tts_values.add(number) = *(*old).tts_values.add(number);
                    *(*self.slot).tts_isnull.add(number) = *(*old).tts_isnull.add(number);
                }
            }
            self.is_valid(self.slot)
        }
    }
}
