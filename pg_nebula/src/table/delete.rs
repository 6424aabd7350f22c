//! Finding and deleting the one row of a key.
#![expect(unsafe_code, reason = "the table access method and index scans are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::ScanDirection::ForwardScanDirection;
use pgrx::pg_sys::SnapshotType::SNAPSHOT_SELF;
use pgrx::prelude::*;

use super::prepared::{Open, Prepared, READ, WRITE, refuse_if_read_only};

/// A row that was found, as long as it is looked at.
pub(crate) struct Found<'a> {
    slot: *mut pg_sys::TupleTableSlot,
    places: &'a [usize],
}

impl Found<'_> {
    /// The value of a column, by its number in the table's list; `None` for NULL.
    pub(crate) fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        let mut null = false;
        // SAFETY: the slot holds a row of the table that the places were looked up in.
        let value = unsafe { pg_sys::slot_getattr(self.slot, self.places[column] as i32 + 1, &mut null) };
        (!null).then_some(value)
    }
}

/// Calls `see` for each row of a key in an index that begins with an identifier, as of now, until it answers `false`.
/// What others have in flight is not seen.
///
/// # Safety
/// The index is one of the table.
unsafe fn each(
    table: &Open,
    index: &Open,
    key: pg_sys::Datum,
    mut see: impl FnMut(*mut pg_sys::TupleTableSlot) -> bool,
) {
    // SAFETY: as promised; this snapshot needs no more than its type. What is begun is ended in order; after an error
    // the abort does that.
    unsafe {
        let mut snapshot = pg_sys::SnapshotData { snapshot_type: SNAPSHOT_SELF, ..std::mem::zeroed() };
        let mut condition: pg_sys::ScanKeyData = std::mem::zeroed();
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        pg_sys::ScanKeyInit(&mut condition, 1, equal, pg_sys::F_UUID_EQ.into(), key);
        let scan = pg_sys::index_beginscan(table.0, index.0, &mut snapshot, 1, 0);
        pg_sys::index_rescan(scan, &mut condition, 1, null_mut(), 0);
        let mut slot: *mut pg_sys::TupleTableSlot = null_mut();
        let mut more = true;
        while more && !pg_sys::index_getnext_tid(scan, ForwardScanDirection).is_null() {
            // Mostly there is no entry; then no row is looked at, and needs no slot.
            if slot.is_null() {
                slot = pg_sys::table_slot_create(table.0, null_mut());
            }
            more = !pg_sys::index_fetch_heap(scan, slot) || see(slot);
        }
        if !slot.is_null() {
            pg_sys::ExecDropSingleTupleTableSlot(slot);
        }
        pg_sys::index_endscan(scan);
    }
}

/// Whether there is a row of this key.
///
/// # Safety
/// As [`each`].
pub(super) unsafe fn is_there(table: pg_sys::Oid, index: pg_sys::Oid, key: pg_sys::Datum) -> bool {
    let (table, index) = (Open::table(table, READ), Open::index(index, READ));
    let mut found = false;
    // SAFETY: as promised.
    unsafe {
        each(&table, &index, key, |_| {
            found = true;
            false
        });
    }
    found
}

impl Prepared {
    /// Deletes the one row of a key that `read` has an answer for, and gives that. `None`: there is none or more than one,
    /// or somebody is at it; nothing was done.
    ///
    /// # Safety
    /// As [`each`].
    pub(super) unsafe fn delete<T>(
        &self,
        index: pg_sys::Oid,
        key: pg_sys::Datum,
        read: impl Fn(&Found<'_>) -> Option<T>,
    ) -> Option<T> {
        refuse_if_read_only(c"DELETE");
        let (table, index) = (Open::table(self.table, WRITE), Open::index(index, WRITE));
        let (mut found, mut alone) = (None, true);
        // SAFETY: as promised; the row is where the scan found it, and if it is not the server says so.
        unsafe {
            each(&table, &index, key, |slot| {
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
