//! Changing a row where it is, as `UPDATE … WHERE` does in READ COMMITTED: whoever else is at it is waited for, and then
//! it is looked at anew.
#![expect(unsafe_code, reason = "the table access method and slots are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES;
use pgrx::pg_sys::TM_Result::TM_Ok;
use pgrx::prelude::*;

use super::Revised;
use super::delete::Found;
use super::prepared::{Open, Prepared, WRITE, refuse_if_read_only};
use super::search::Search;
use super::transfer::{Kept, deform};

/// Whether the new row needs entries of its own in indexes; no table that is revised has one which could do with less.
#[cfg(feature = "pg15")]
type Entries = bool;
#[cfg(not(feature = "pg15"))]
type Entries = pg_sys::TU_UpdateIndexes::Type;

impl Prepared {
    /// Changes the one row that a search finds and `row` has an answer for. `row` is given the values of the columns, and
    /// leaves the new ones there.
    ///
    /// # Safety
    /// As [`Search::each`]; and the values have the types of the columns.
    pub(super) unsafe fn revise<T>(
        &self,
        index: pg_sys::Oid,
        search: &Search<'_>,
        mut row: impl FnMut(&Found<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Revised<T> {
        refuse_if_read_only(c"UPDATE");
        let (table, index) = (Open::table(self.table, WRITE), Open::index(index, WRITE));
        let mut values = vec![None; self.places.len()];
        let (mut snapshot, mut newest) = Kept::present();
        loop {
            let (mut done, mut changed) = (Revised::Missing, false);
            // SAFETY: as promised.
            unsafe {
                search.each(&table, &index, snapshot.0, |slot| {
                    deform(slot);
                    let found = Found { slot, places: &self.places };
                    for (column, value) in values.iter_mut().enumerate() {
                        *value = found.get(column);
                    }
                    let Some(answer) = row(&found, &mut values) else { return true };
                    if !self.accepts_instead(slot, &values) {
                        done = Revised::UseSql;
                    } else if self.replace(&table, slot, snapshot.0) {
                        done = Revised::Yes(answer);
                    } else {
                        changed = true;
                    }
                    false
                });
                pg_sys::CommandCounterIncrement();
            }
            if !changed && (newest || !matches!(done, Revised::Missing)) {
                return done;
            }
            snapshot = Kept::fresh();
            newest = true;
        }
    }

    /// Writes the row in the slot of this value instead of the one in `old`; `false`: that one is no longer what it was.
    ///
    /// # Safety
    /// Both slots hold rows of the table, the old one as the snapshot shows it.
    unsafe fn replace(
        &self,
        table: &Open,
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
            if result == TM_Ok && entries != Entries::default() {
                for index in &self.indexes {
                    self.enter(table, index, &[self.slot], UNIQUE_CHECK_YES);
                }
            }
            pg_sys::MemoryContextReset(self.row_memory());
            result == TM_Ok
        }
    }

    /// Puts a row into the slot that is as the one in `old` but for the values given; whether it meets all constraints but
    /// those of indexes.
    ///
    /// # Safety
    /// The old slot holds a row of the table, of which all columns are read; the values have their types.
    unsafe fn accepts_instead(
        &self,
        old: *mut pg_sys::TupleTableSlot,
        values: &[Option<pg_sys::Datum>],
    ) -> bool {
        // SAFETY: as promised; both slots have as many values as the table has columns.
        unsafe {
            pg_sys::MemoryContextReset(self.row_memory());
            self.fill(self.slot, values);
            let columns = usize::try_from((*self.shape).natts).unwrap_or(0);
            for place in (0..columns).filter(|place| !self.places.contains(place)) {
                *(*self.slot).tts_values.add(place) = *(*old).tts_values.add(place);
                *(*self.slot).tts_isnull.add(place) = *(*old).tts_isnull.add(place);
            }
            self.is_valid(self.slot)
        }
    }
}
