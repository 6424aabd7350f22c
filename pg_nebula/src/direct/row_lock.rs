//! Deleting and locking a row that other transactions may have locked.
#![expect(unsafe_code, reason = "the table access method and heap tuples are C interfaces")]

use std::ptr::null_mut;

use pgrx::pg_sys::LockTupleMode::LockTupleExclusive;
use pgrx::pg_sys::LockWaitPolicy::LockWaitSkip;
use pgrx::pg_sys::TM_Result;
use pgrx::prelude::*;

use super::relation::OpenRelation;

/// Result of an attempt to delete a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeleteOutcome {
    Deleted,
    /// Another transaction in progress has locked, changed or deleted the row.
    Locked,
    /// Another transaction has changed or deleted it since the snapshot: a newer one shows how.
    Changed,
}

/// Deletes the row in a slot. With `wait`, waits for transactions in progress that hold it.
///
/// # Safety
/// The slot holds a row of the table that the snapshot shows.
pub(super) unsafe fn delete(
    table: &OpenRelation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
    wait: bool,
) -> DeleteOutcome {
    // SAFETY: as the caller promises. The row lies where the scan has found it; if it was changed meanwhile,
    // the result says so.
    unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let mut tid = (*slot).tts_tid;
        let mut attempt = |wait| {
            let (command, no_crosscheck) = (pg_sys::GetCurrentCommandId(true), null_mut());
            pg_sys::table_tuple_delete(
                table.0,
                &mut tid,
                command,
                snapshot,
                no_crosscheck,
                wait,
                &mut failure,
                false,
            )
        };
        let mut result = attempt(wait);
        // Only without `wait`: the server then reports even this transaction's own lock on the row.
        if result == TM_Result::TM_BeingModified
            && may_be_locked_here(slot)
            && lock(table, slot, snapshot, LockTupleExclusive) == TM_Result::TM_Ok
        {
            result = attempt(true);
        }
        match result {
            TM_Result::TM_Ok => DeleteOutcome::Deleted,
            TM_Result::TM_BeingModified => DeleteOutcome::Locked,
            _ => DeleteOutcome::Changed,
        }
    }
}

/// The tuple header of the row in a slot; `None` when the table access method is not heap.
///
/// # Safety
/// The slot holds a row, and does so as long as the header is used.
unsafe fn header<'a>(slot: *mut pg_sys::TupleTableSlot) -> Option<&'a pg_sys::HeapTupleHeaderData> {
    // SAFETY: as the caller promises; a filled slot of this kind keeps its page pinned. The page is not
    // locked, so a word of the header may be out of date: both callers use it as a hint.
    unsafe {
        let is_heap = std::ptr::eq((*slot).tts_ops, &raw const pg_sys::TTSOpsBufferHeapTuple);
        is_heap.then(|| &*(*(*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple).t_data)
    }
}

/// Whether another transaction was locking or deleting the row in a slot when the snapshot was taken. Saves
/// the attempt to delete most rows that are skipped; a row that this function misses is found locked by the
/// attempt.
///
/// # Safety
/// The slot holds a row.
pub(super) unsafe fn is_locked_by_others(
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    const NOT_ONE_TRANSACTION: u32 = pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_IS_MULTI;
    // SAFETY: as the caller promises; without those two flags xmax is the number of one transaction.
    unsafe {
        let header = header(slot).filter(|header| u32::from(header.t_infomask) & NOT_ONE_TRANSACTION == 0);
        header.is_some_and(|header| {
            let xmax = header.t_choice.t_heap.t_xmax;
            !pg_sys::TransactionIdIsCurrentTransactionId(xmax) && pg_sys::XidInMVCCSnapshot(xmax, snapshot)
        })
    }
}

/// Whether this transaction may be among those that have locked the row in a slot, for example by a foreign
/// key.
///
/// # Safety
/// The slot holds a row.
unsafe fn may_be_locked_here(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        header(slot).is_none_or(|header| {
            u32::from(header.t_infomask) & pg_sys::HEAP_XMAX_IS_MULTI != 0
                || pg_sys::TransactionIdIsCurrentTransactionId(header.t_choice.t_heap.t_xmax)
        })
    }
}

/// Locks the row in a slot, as by SKIP LOCKED. `TM_WouldBlock`: another transaction has locked it.
///
/// # Safety
/// As [`delete`].
pub(super) unsafe fn lock(
    table: &OpenRelation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
    mode: pg_sys::LockTupleMode::Type,
) -> TM_Result::Type {
    // SAFETY: as the caller promises. The locked version goes into a slot of its own, because the caller
    // still reads the first one.
    unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let copy = pg_sys::table_slot_create(table.0, null_mut());
        let result = pg_sys::table_tuple_lock(
            table.0,
            &mut (*slot).tts_tid,
            snapshot,
            copy,
            pg_sys::GetCurrentCommandId(true),
            mode,
            LockWaitSkip,
            0,
            &mut failure,
        );
        pg_sys::ExecDropSingleTupleTableSlot(copy);
        result
    }
}
