//! Open relations.
#![expect(unsafe_code, reason = "relations are C structures")]

use std::ffi::CStr;

use pgrx::prelude::*;

/// Lock that SELECT takes, on the table and on its indexes.
pub(super) const READ: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// Lock that INSERT, UPDATE and DELETE take.
pub(super) const WRITE: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// An open table or index, closed in `Drop`. Its lock is kept until the transaction ends, as that of a
/// statement is.
pub(super) struct OpenRelation(pub(super) pg_sys::Relation);

/// Locks a relation until the transaction ends, and reads the invalidations sent before the lock was granted.
/// On a standby only as SELECT does: [`require_writable`] then raises the error that a statement would.
pub(super) fn lock_relation(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) {
    // SAFETY: locks an identifier, whether or not a relation still has it.
    unsafe { pg_sys::LockRelationOid(oid, if pg_sys::RecoveryInProgress() { READ } else { lock }) };
}

impl OpenRelation {
    pub(super) fn table(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // SAFETY: opens the table, or raises an error.
        Self(unsafe { pg_sys::table_open(oid, lock) })
    }

    /// Opens a table that this transaction has locked.
    pub(super) fn locked_table(oid: pg_sys::Oid) -> Self {
        Self::table(oid, pg_sys::NoLock as pg_sys::LOCKMODE)
    }

    pub(super) fn index(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // SAFETY: opens the index, or raises an error.
        Self(unsafe { pg_sys::index_open(oid, lock) })
    }

    /// The relation's row of pg_class.
    pub(super) fn class(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: an open relation points to its row.
        unsafe { &*(*self.0).rd_rel }
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: open until here. After an error the abort of the transaction closes it.
            unsafe { pg_sys::relation_close(self.0, pg_sys::NoLock as pg_sys::LOCKMODE) };
        }
    }
}

/// Raises the errors that `statement` raises in a read-only transaction, on a standby, and in a parallel
/// query.
pub(super) fn require_writable(statement: &CStr) {
    #[cfg(feature = "pg_test")]
    super::write_count::increment();
    // SAFETY: the functions raise an error or do nothing.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(statement.as_ptr());
        pg_sys::PreventCommandIfParallelMode(statement.as_ptr());
    }
}
