//! Changing a row where it is, as `UPDATE … WHERE` does in READ COMMITTED: whoever else is at it is waited for, and then
//! it is looked at anew.
#![expect(unsafe_code, reason = "the table access method and slots are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES;
use pgrx::pg_sys::TM_Result::TM_Ok;
use pgrx::prelude::*;

use super::UpdateOutcome;
use super::handle::{Index, OpenRelation, TableHandle, WRITE, refuse_if_read_only};
use super::index_scan::IndexScan;
use super::row::{FoundRow, deform};
use super::snapshot::RegisteredSnapshot;

/// Whether the new row needs entries of its own in indexes.
#[cfg(feature = "pg15")]
type Entries = bool;
#[cfg(not(feature = "pg15"))]
type Entries = pg_sys::TU_UpdateIndexes::Type;

/// Whether one in this index is among them.
///
/// # Safety
/// The table of the index is open.
#[cfg(feature = "pg15")]
unsafe fn needs_entry(_index: &Index, entries: Entries) -> bool {
    entries
}

/// Whether one in this index is among them: those that only sum pages up may be told without the others.
///
/// # Safety
/// The table of the index is open.
#[cfg(not(feature = "pg15"))]
unsafe fn needs_entry(index: &Index, entries: Entries) -> bool {
    use pg_sys::TU_UpdateIndexes::{TU_All, TU_Summarizing};
    // SAFETY: the description is valid as long as the handle.
    entries == TU_All || entries == TU_Summarizing && unsafe { (*index.info).ii_Summarizing }
}

impl TableHandle {
    /// Changes the one row that a search finds and `row` has an answer for. `row` is given the values of the columns, and
    /// leaves the new ones there.
    ///
    /// # Safety
    /// As [`IndexScan::each`]; and the values have the types of the columns.
    pub(super) unsafe fn update<T>(
        &self,
        index: pg_sys::Oid,
        search: &IndexScan<'_>,
        mut row: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> UpdateOutcome<T> {
        refuse_if_read_only(c"UPDATE");
        let (table, index) = (OpenRelation::table(self.table, WRITE), OpenRelation::index(index, WRITE));
        let mut values = vec![None; self.column_numbers.len()];
        let (mut snapshot, mut newest) = RegisteredSnapshot::present();
        loop {
            let (mut done, mut changed) = (UpdateOutcome::NotFound, false);
            // SAFETY: as promised.
            unsafe {
                search.each(&table, &index, snapshot.0, |slot| {
                    deform(slot);
                    let found = FoundRow { slot, column_numbers: &self.column_numbers };
                    for (column, value) in values.iter_mut().enumerate() {
                        *value = found.get(column);
                    }
                    let Some(answer) = row(&found, &mut values) else { return true };
                    if !self.accepts_instead(slot, &values) {
                        done = UpdateOutcome::UseSql;
                    } else if self.replace(&table, slot, snapshot.0) {
                        done = UpdateOutcome::Updated(answer);
                    } else {
                        changed = true;
                    }
                    false
                });
                pg_sys::CommandCounterIncrement();
            }
            if !changed && (newest || !matches!(done, UpdateOutcome::NotFound)) {
                return done;
            }
            snapshot = RegisteredSnapshot::fresh();
            newest = true;
        }
    }

    /// Writes the row in the slot of this value instead of the one in `old`; `false`: that one is no longer what it was.
    ///
    /// # Safety
    /// Both slots hold rows of the table, the old one as the snapshot shows it.
    pub(super) unsafe fn replace(
        &self,
        table: &OpenRelation,
        old: *mut pg_sys::TupleTableSlot,
        snapshot: pg_sys::Snapshot,
    ) -> bool {
        // SAFETY: as promised; zeroed is what the server expects to fill.
        unsafe {
            let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
            let (mut strength, mut entries): (pg_sys::LockTupleMode::Type, Entries) = std::mem::zeroed();
            let command = pg_sys::GetCurrentCommandId(true);
            let result = pg_sys::table_tuple_update(
                table.0,
                &mut (*old).tts_tid,
                self.slot,
                command,
                snapshot,
                null_mut(),
                true,
                &mut failure,
                &mut strength,
                &mut entries,
            );
            if result == TM_Ok {
                for index in self.indexes.iter().filter(|index| needs_entry(index, entries)) {
                    let unchanged = self.is_unchanged(index, old);
                    self.enter_version(table, index, &[self.slot], UNIQUE_CHECK_YES, unchanged);
                }
            }
            pg_sys::MemoryContextReset(self.row_memory());
            result == TM_Ok
        }
    }

    /// Whether the key of the row in the slot is made of the very values that `old` has.
    ///
    /// # Safety
    /// Both slots hold rows of the table; the old one may be gone already, so its values are not looked at.
    unsafe fn is_unchanged(&self, index: &Index, old: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as promised; an index has as many columns as it says, and 0 stands for an expression.
        unsafe {
            let info = &*index.info;
            let keys = usize::try_from(info.ii_NumIndexKeyAttrs).unwrap_or(0);
            info.ii_IndexAttrNumbers[..keys].iter().all(|number| {
                usize::try_from(*number).ok().and_then(|number| number.checked_sub(1)).is_some_and(|place| {
                    *(*old).tts_isnull.add(place) == *(*self.slot).tts_isnull.add(place)
                        && *(*old).tts_values.add(place) == *(*self.slot).tts_values.add(place)
                })
            })
        }
    }

    /// Puts a row into the slot that is as the one in `old` but for the values given; whether it meets all constraints but
    /// those of indexes.
    ///
    /// # Safety
    /// The old slot holds a row of the table, of which all columns are read; the values have their types.
    pub(super) unsafe fn accepts_instead(
        &self,
        old: *mut pg_sys::TupleTableSlot,
        values: &[Option<pg_sys::Datum>],
    ) -> bool {
        // SAFETY: as promised; both slots have as many values as the table has columns.
        unsafe {
            pg_sys::MemoryContextReset(self.row_memory());
            self.fill(self.slot, values);
            let columns = usize::try_from((*self.shape).natts).unwrap_or(0);
            let attributes = (*self.shape).attrs.as_slice(columns);
            // What a dropped column held goes with the old row.
            let kept =
                |place: &usize| !self.column_numbers.contains(place) && !attributes[*place].attisdropped;
            for place in (0..columns).filter(kept) {
                *(*self.slot).tts_values.add(place) = *(*old).tts_values.add(place);
                *(*self.slot).tts_isnull.add(place) = *(*old).tts_isnull.add(place);
            }
            self.is_valid(self.slot)
        }
    }
}
