//! REPEATABLE READ and stricter: what a transaction sees may be older than the lock it waited for.

use crate::pg::error::sql;
use std::slice;

use pgrx::prelude::*;

use crate::pg::error::{Error, Kind, Result};
use crate::pg::session::snapshot_is_fixed;

/// Refuses to go on when a transaction has ended that the caller's snapshot does not show.
///
/// For those who lock first and then look: in READ COMMITTED they see everything there is. Whose transaction it was is
/// not asked, so this may refuse without need, but never lets a wrong answer pass. Errors: 40001.
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
        "other transactions have ended since this one began to read, and what they did is not seen here",
        "Run the transaction again, or use READ COMMITTED.",
    ))
}

#[expect(unsafe_code, reason = "snapshots are C structures")]
fn is_fresh() -> bool {
    // SAFETY: inside a function call there is an active snapshot; both live until this function has compared them, and
    // have as many entries as they say.
    unsafe {
        let (seen, latest) = (&*pg_sys::GetActiveSnapshot(), &*pg_sys::GetLatestSnapshot());
        let running = |snapshot: &pg_sys::SnapshotData| match snapshot.xcnt {
            0 => &[],
            count => slice::from_raw_parts(snapshot.xip, count as usize),
        };
        seen.xmax == latest.xmax && running(seen) == running(latest)
    }
}
