//! Notifies listeners, once per threshold, when a pool fills up.
//!
//! Counting a pool takes longer than an allocation, and transactions that notify commit one after the other.
//! So an allocation only checks whether usage may have reached a threshold; the background worker counts
//! after the commit. Where no worker runs for the database, the allocating session counts.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nebula_core::address::number;

use crate::free_map::{self, usage_signal};
use crate::pg::error::Result;
use crate::pg::session::snapshot_is_fixed;
use crate::pg::settings;
use crate::pg::statement::Statement;
use crate::pools::pool::Pool;

/// Time for which a session does not count large pools again, after a count that reached no threshold.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Pools of at most this many addresses are counted at every check, which takes less than a millisecond.
const SMALL_POOL: u128 = 4096;

thread_local! {
    /// When this session last counted a pool that had reached no threshold.
    static LAST_COUNT_BELOW_THRESHOLD: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Checks usage after the lowest free address was assigned; far below a threshold this compares two numbers.
pub(super) fn check_lowest(pool: &Pool, assigned: IpAddr) -> Result<()> {
    if may_cross(pool, assigned) { check(pool) } else { Ok(()) }
}

/// Whether assigning this address, the lowest free one, may have raised usage to a threshold.
pub(super) fn may_cross(pool: &Pool, assigned: IpAddr) -> bool {
    pool.next_threshold.is_some_and(|threshold| number(assigned) >= threshold)
}

/// Checks usage after a requested address or one of a group was assigned: an address that is not the lowest
/// free one says nothing about usage.
pub(super) fn check(pool: &Pool) -> Result<()> {
    if pool.next_threshold.is_none() {
        return Ok(());
    }
    if usage_signal::has_watcher() {
        free_map::request_usage_check(pool);
        return Ok(());
    }
    // A transaction that notifies cannot be prepared, and an old snapshot cannot count. Then maintain_pools
    // counts.
    if settings::may_prepare() || snapshot_is_fixed() { Ok(()) } else { count(pool) }
}

/// Counts the pool, and notifies at the commit of this transaction.
fn count(pool: &Pool) -> Result<()> {
    static COUNT: Statement = Statement::new("SELECT nebula.notify_usage($1)");
    let is_large = pool.network.assignable_count() > SMALL_POOL;
    if is_large && LAST_COUNT_BELOW_THRESHOLD.get().is_some_and(|at| at.elapsed() < RECOUNT_INTERVAL) {
        return Ok(());
    }
    let raised = COUNT.query_opt(&[pool.id.into()], |row| row.get::<bool>(1))?.flatten();
    LAST_COUNT_BELOW_THRESHOLD.set((raised == Some(false)).then(Instant::now));
    Ok(())
}

/// Counts pools in the background worker: those whose usage may have risen to a threshold, and those whose
/// usage may have fallen below one that was notified.
pub(crate) fn count_pools(risen: Vec<i32>, fallen: Vec<i32>) -> Result<()> {
    static COUNT: Statement = Statement::new(
        "SELECT nebula.notify_usage(p.pool_id) FROM nebula.pool p
          WHERE p.pool_id = ANY ($1) OR p.alarmed > 0 AND p.pool_id = ANY ($2)",
    );
    COUNT.run(&[risen.into(), fallen.into()])
}
