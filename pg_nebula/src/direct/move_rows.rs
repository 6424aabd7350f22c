//! Moving rows from one table into another, as `WITH gone AS (DELETE … RETURNING *) INSERT … SELECT … FROM gone` does in
//! READ COMMITTED: nobody ever sees a row in both tables or in neither.
#![expect(unsafe_code, reason = "the table access method and snapshots are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::LockTupleMode::LockTupleExclusive;
use pgrx::pg_sys::LockWaitPolicy::LockWaitSkip;
use pgrx::pg_sys::TM_Result::{TM_BeingModified, TM_Ok};
use pgrx::prelude::*;

use super::MovedRows;
use super::handle::{OpenRelation, TableHandle, WRITE, refuse_if_read_only};
use super::index_scan::IndexScan;
use super::row::{FoundRow, deform};
use super::snapshot::RegisteredSnapshot;

/// What became of the attempt to delete a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Deleted,
    /// Somebody else is at it.
    Busy,
    /// Somebody else was at it since the snapshot: what it is now, a newer one shows.
    Changed,
}

impl TableHandle {
    /// Moves the rows that searches find and `row` has an answer for into `to`, `most` at most. `row` gives the values of
    /// the new row. Rows that others are at are passed by, or waited for: then one for each search.
    ///
    /// # Safety
    /// As [`IndexScan::each`]; and the values have the types of the columns.
    pub(super) unsafe fn move_rows<T>(
        &self,
        to: &Self,
        index: pg_sys::Oid,
        searches: &[IndexScan<'_>],
        most: usize,
        wait: bool,
        mut row: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> MovedRows<T> {
        refuse_if_read_only(c"DELETE");
        let (table, index) = (OpenRelation::table(self.table, WRITE), OpenRelation::index(index, WRITE));
        let target = OpenRelation::table(to.table, WRITE);
        let mut values = vec![None; to.column_numbers.len()];
        let mut done = MovedRows { rows: Vec::new(), needs_sql: false };
        // Who waits looks for certain rows, which mostly are as the statement saw them. Who passes rows by knows since when
        // it looks.
        let (mut snapshot, mut newest) =
            if wait { RegisteredSnapshot::present() } else { (RegisteredSnapshot::fresh(), true) };
        let mut searches = searches.iter();
        let mut next = searches.next();
        while let Some(search) = next {
            let (mut changed, before) = (false, done.rows.len());
            // SAFETY: as promised.
            unsafe {
                search.each(&table, &index, snapshot.0, |slot| {
                    if !wait && is_held_by_others(slot, snapshot.0) {
                        return true;
                    }
                    deform(slot);
                    let Some(answer) =
                        row(&FoundRow { slot, column_numbers: &self.column_numbers }, &mut values)
                    else {
                        return true;
                    };
                    // Before anything is done, so that SQL can still do it, or say what is wrong.
                    if !to.accepts(&target, &values) {
                        done.needs_sql = true;
                        return false;
                    }
                    match delete(&table, slot, snapshot.0, wait) {
                        Outcome::Deleted => {
                            to.write(&target);
                            done.rows.push(answer);
                        }
                        Outcome::Busy => {}
                        Outcome::Changed => changed = true,
                    }
                    done.rows.len() < most && !wait
                });
            }
            if done.needs_sql || done.rows.len() >= most {
                break;
            }
            let found = done.rows.len() > before;
            if wait && found || newest && !changed {
                next = searches.next();
            }
            // What others changed meanwhile is looked at as it is now; and what was passed by must not be found again.
            if (!wait && found) || (!found && !newest) || changed {
                snapshot = RegisteredSnapshot::fresh();
                newest = true;
            }
        }
        // SAFETY: inside a transaction; what was written is there for what comes next.
        unsafe { pg_sys::CommandCounterIncrement() };
        done
    }
}

/// Deletes the row in a slot.
///
/// # Safety
/// The slot holds a row of the table that the snapshot shows.
unsafe fn delete(
    table: &OpenRelation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
    wait: bool,
) -> Outcome {
    // SAFETY: as promised; the row is where the scan found it, and if it is not the server says so.
    unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let command = pg_sys::GetCurrentCommandId(true);
        let mut tid = (*slot).tts_tid;
        let mut attempt = |wait| {
            let none = null_mut();
            pg_sys::table_tuple_delete(table.0, &mut tid, command, snapshot, none, wait, &mut failure, false)
        };
        let mut result = attempt(wait);
        // Whoever waits does not come here.
        if result == TM_BeingModified && may_be_locked_here(slot) && lock(table, slot, snapshot) {
            result = attempt(true);
        }
        if result == TM_Ok {
            Outcome::Deleted
        } else if result == TM_BeingModified {
            Outcome::Busy
        } else {
            Outcome::Changed
        }
    }
}

/// The head of the row in a slot; `None` where rows have none.
///
/// # Safety
/// The slot holds a row, and still does while the head is looked at.
unsafe fn head<'a>(slot: *mut pg_sys::TupleTableSlot) -> Option<&'a pg_sys::HeapTupleHeaderData> {
    // SAFETY: as promised; a slot of this kind has a tuple, whose page stays where it is as long as the slot is filled. A
    // word of its head may be that of a moment ago.
    unsafe {
        let is_heap = std::ptr::eq((*slot).tts_ops, &raw const pg_sys::TTSOpsBufferHeapTuple);
        is_heap.then(|| &*(*(*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple).t_data)
    }
}

/// Whether somebody else was deleting or locking the row in a slot when the snapshot was taken. Most rows that are passed
/// by are known by this, without trying.
///
/// # Safety
/// The slot holds a row.
unsafe fn is_held_by_others(slot: *mut pg_sys::TupleTableSlot, snapshot: pg_sys::Snapshot) -> bool {
    const OPEN: u32 = pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_IS_MULTI;
    // SAFETY: as promised; a deleter that is neither invalid nor several is one transaction.
    unsafe {
        head(slot).filter(|head| u32::from(head.t_infomask) & OPEN == 0).is_some_and(|head| {
            let deleter = head.t_choice.t_heap.t_xmax;
            !pg_sys::TransactionIdIsCurrentTransactionId(deleter)
                && pg_sys::XidInMVCCSnapshot(deleter, snapshot)
        })
    }
}

/// Whether this transaction may be among those that have locked the row in a slot, for example as a parent: its own lock
/// is in nobody's way, but the server leaves that to those who wait.
///
/// # Safety
/// The slot holds a row.
unsafe fn may_be_locked_here(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: as promised.
    unsafe {
        head(slot).is_none_or(|head| {
            u32::from(head.t_infomask) & pg_sys::HEAP_XMAX_IS_MULTI != 0
                || pg_sys::TransactionIdIsCurrentTransactionId(head.t_choice.t_heap.t_xmax)
        })
    }
}

/// Locks the row in a slot for deletion without waiting; `false` when others are at it.
///
/// # Safety
/// As [`delete`].
unsafe fn lock(table: &OpenRelation, slot: *mut pg_sys::TupleTableSlot, snapshot: pg_sys::Snapshot) -> bool {
    // SAFETY: as promised; a slot of its own, because others still read from the first.
    unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let copy = pg_sys::table_slot_create(table.0, null_mut());
        let result = pg_sys::table_tuple_lock(
            table.0,
            &mut (*slot).tts_tid,
            snapshot,
            copy,
            pg_sys::GetCurrentCommandId(true),
            LockTupleExclusive,
            LockWaitSkip,
            0,
            &mut failure,
        );
        pg_sys::ExecDropSingleTupleTableSlot(copy);
        result == TM_Ok
    }
}
