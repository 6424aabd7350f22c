//! REPEATABLE READ and stricter: the snapshot of a transaction may be older than a lock it has waited for.

use crate::pg::error::sql;
use std::slice;

use pgrx::prelude::*;

use crate::pg::error::{Error, Kind, Result};
use crate::pg::session::snapshot_is_fixed;

// For callers that lock first and then read: in READ COMMITTED the next statement sees everything. Any transaction that
// ended since the snapshot counts, so this may refuse without need, but it never accepts a stale snapshot.
#[pg_extern]
fn require_fresh_snapshot() -> sql::Result<()> {
    Ok(check()?)
}

fn check() -> Result<()> {
    if !snapshot_is_fixed() || is_fresh() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Retry,
        "the snapshot of this transaction is older than a lock that it needs",
        "Run the transaction again, or use READ COMMITTED.",
    ))
}

#[expect(unsafe_code, reason = "snapshots are C structures")]
fn is_fresh() -> bool {
    // SAFETY: inside a function call there is an active snapshot; both snapshots are valid until this
    // function returns, and `xip` has `xcnt` entries.
    unsafe {
        let (seen, latest) = (&*pg_sys::GetActiveSnapshot(), &*pg_sys::GetLatestSnapshot());
        let running = |snapshot: &pg_sys::SnapshotData| match snapshot.xcnt {
            0 => &[],
            count => slice::from_raw_parts(snapshot.xip, count as usize),
        };
        seen.xmax == latest.xmax && running(seen) == running(latest)
    }
}
