//! Snapshots that rows are looked at with.
#![expect(unsafe_code, reason = "snapshots are C structures")]

use pgrx::pg_sys::SnapshotType::SNAPSHOT_SELF;
use pgrx::prelude::*;

/// A snapshot of what is committed now, and of all that this transaction has done.
pub(super) fn as_of_now() -> pg_sys::SnapshotData {
    // SAFETY: this kind of snapshot needs no more than its type.
    pg_sys::SnapshotData { snapshot_type: SNAPSHOT_SELF, ..unsafe { std::mem::zeroed() } }
}

/// A snapshot, kept until this is dropped.
pub(super) struct RegisteredSnapshot(pub(super) pg_sys::Snapshot);

impl RegisteredSnapshot {
    /// What the present statement of the caller sees; and whether that is the newest there is, because this transaction has
    /// changed something since: what it has changed itself must be looked at as it is.
    pub(super) fn present() -> (Self, bool) {
        // SAFETY: inside a function call there is an active snapshot.
        unsafe {
            let active = pg_sys::GetActiveSnapshot();
            if (*active).curcid == pg_sys::GetCurrentCommandId(false) {
                (Self(pg_sys::RegisterSnapshot(active)), false)
            } else {
                (Self::fresh(), true)
            }
        }
    }

    /// What is committed now, and what this transaction has done so far.
    pub(super) fn fresh() -> Self {
        // SAFETY: inside a transaction; what was written before counts as an earlier command from here on.
        unsafe {
            pg_sys::CommandCounterIncrement();
            Self(pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()))
        }
    }
}

impl Drop for RegisteredSnapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered above; after an error the abort does this.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}
