//! Snapshots for scans.
#![expect(unsafe_code, reason = "snapshots are C structures")]

use pgrx::pg_sys::SnapshotType::SNAPSHOT_SELF;
use pgrx::prelude::*;

/// Shows what is committed at the moment each row is looked at, and everything this transaction has done. Not
/// one point in time: a row that is updated during the scan may be seen twice or not at all, so this is for
/// scans of one row.
pub(super) fn latest_version() -> pg_sys::SnapshotData {
    // SAFETY: all that the server reads of a snapshot of this type is the type.
    pg_sys::SnapshotData { snapshot_type: SNAPSHOT_SELF, ..unsafe { std::mem::zeroed() } }
}

/// An MVCC snapshot, registered until this is dropped.
pub(super) struct RegisteredSnapshot(pub(super) pg_sys::Snapshot);

impl RegisteredSnapshot {
    /// The snapshot of the caller's statement, and `false`; or, if this transaction has written since that
    /// was taken, a new one, which also shows those writes, and `true`.
    pub(super) fn of_statement() -> (Self, bool) {
        // SAFETY: inside a function call there is an active snapshot.
        unsafe {
            let active = pg_sys::GetActiveSnapshot();
            if (*active).curcid == pg_sys::GetCurrentCommandId(false) {
                (Self(pg_sys::RegisterSnapshot(active)), false)
            } else {
                (Self::new(), true)
            }
        }
    }

    /// A new one: what is committed now, and what this transaction has done so far.
    pub(super) fn new() -> Self {
        // SAFETY: inside a transaction; the increment makes what this transaction wrote an earlier command's
        // work.
        unsafe {
            pg_sys::CommandCounterIncrement();
            Self(pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()))
        }
    }
}

impl Drop for RegisteredSnapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered above. After an error the abort of the transaction unregisters it.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}
