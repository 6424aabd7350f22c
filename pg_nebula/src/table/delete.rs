//! Finding and deleting the one row of a key.
#![expect(unsafe_code, reason = "the table access method and index scans are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::SnapshotType::{SNAPSHOT_ANY, SNAPSHOT_SELF};
use pgrx::prelude::*;

use super::prepared::{Open, Prepared, READ, WRITE, refuse_if_read_only};
use super::search::Search;

/// A row that was found, as long as it is looked at.
pub(crate) struct Found<'a> {
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    pub(super) places: &'a [usize],
}

impl Found<'_> {
    /// The value of a column, by its number in the table's list; `None` for NULL.
    pub(crate) fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        let place = self.places[column];
        let mut null = false;
        // SAFETY: the slot holds a row of the table that the places were looked up in; so many of its columns are read.
        let value = unsafe {
            let slot = &*self.slot;
            if place < usize::try_from(slot.tts_nvalid).unwrap_or(0) {
                null = *slot.tts_isnull.add(place);
                *slot.tts_values.add(place)
            } else {
                pg_sys::slot_getattr(self.slot, place as i32 + 1, &mut null)
            }
        };
        (!null).then_some(value)
    }

    /// The same as a value of its own; `None` also when the column has another type.
    pub(crate) fn read<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: a row has as many columns as its description says, and the datum the type that it says.
        unsafe {
            let shape = &*(*self.slot).tts_tupleDescriptor;
            let columns = usize::try_from(shape.natts).unwrap_or(0);
            let is = shape.attrs.as_slice(columns)[self.places[column]].atttypid;
            let value = self.get(column).filter(|_| T::is_compatible_with(is))?;
            T::from_datum(value, false)
        }
    }
}

/// A snapshot of what is committed now, and of all that this transaction has done.
pub(super) fn as_of_now() -> pg_sys::SnapshotData {
    // SAFETY: this kind of snapshot needs no more than its type.
    pg_sys::SnapshotData { snapshot_type: SNAPSHOT_SELF, ..unsafe { std::mem::zeroed() } }
}

/// The first value of the only row of a sequence.
///
/// # Safety
/// It is a sequence, and its first column a `bigint`.
pub(super) unsafe fn only_value(sequence: pg_sys::Oid) -> Option<i64> {
    let sequence = Open::table(sequence, READ);
    // SAFETY: as promised; the row never moves, and its value is written at once.
    unsafe {
        let mut any = pg_sys::SnapshotData { snapshot_type: SNAPSHOT_ANY, ..std::mem::zeroed() };
        let slot = pg_sys::table_slot_create(sequence.0, null_mut());
        let mut tid = pg_sys::ItemPointerData::default();
        pgrx::itemptr::item_pointer_set_all(&mut tid, 0, 1);
        let found = pg_sys::table_tuple_fetch_row_version(sequence.0, &mut tid, &mut any, slot);
        let value = found.then(|| Found { slot, places: &[0] }.read(0));
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        value.flatten()
    }
}

impl Prepared {
    /// What `read` answers first of the rows that a search finds, as the present statement of the caller sees them.
    ///
    /// # Safety
    /// As [`Search::each`].
    pub(super) unsafe fn first<T>(
        &self,
        index: pg_sys::Oid,
        search: &Search<'_>,
        mut read: impl FnMut(&Found<'_>) -> Option<T>,
    ) -> Option<T> {
        let (table, index) = (Open::table(self.table, READ), Open::index(index, READ));
        let mut found = None;
        // SAFETY: as promised; inside a function call there is an active snapshot, which lasts until it ends.
        unsafe {
            search.each(&table, &index, pg_sys::GetActiveSnapshot(), |slot| {
                found = read(&Found { slot, places: &self.places });
                found.is_none()
            });
        }
        found
    }

    /// Deletes the one row of a key that `read` has an answer for, and gives that. `None`: there is none or more than one,
    /// or somebody is at it; nothing was done.
    ///
    /// # Safety
    /// As [`Search::each`].
    pub(super) unsafe fn delete<T>(
        &self,
        index: pg_sys::Oid,
        search: &Search<'_>,
        read: impl Fn(&Found<'_>) -> Option<T>,
    ) -> Option<T> {
        refuse_if_read_only(c"DELETE");
        let (table, index) = (Open::table(self.table, WRITE), Open::index(index, WRITE));
        let (mut found, mut alone) = (None, true);
        // SAFETY: as promised; the row is where the scan found it, and if it is not the server says so.
        unsafe {
            search.each(&table, &index, &mut as_of_now(), |slot| {
                if let Some(answer) = read(&Found { slot, places: &self.places }) {
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
