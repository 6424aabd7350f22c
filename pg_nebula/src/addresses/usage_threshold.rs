//! Telling listeners, once, that a pool is filling up.
//!
//! To count a pool and to notify takes longer than to allocate, and whoever notifies commits one after the other. So an
//! allocation only notices that usage may have reached a threshold; the background worker counts once it has committed.
//! Where no worker looks after the database the allocation counts itself, unless another one is at it.

use crate::pg::session;
use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::free_map::{self, usage_signal};
use crate::pg::error::Result;
use crate::pg::settings;
use crate::pg::statement::Statement;
use crate::pools::pool::Pool;
use nebula_core::address::number;

/// How long a session that has looked in vain does not look at a large pool again.
const PAUSE: Duration = Duration::from_secs(1);

/// Pools of at most this many addresses are counted whenever there is reason to, which takes less than a millisecond.
const SMALL: u128 = 4096;

thread_local! {
    /// When this session last looked in vain.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Has the pool's usage looked at if giving out the lowest free address had to go as far as a threshold.
///
/// Far below a threshold this compares two numbers.
pub(crate) fn watch(pool: &Pool, given: IpAddr) -> Result<()> {
    if is_due(pool, given) { look(pool) } else { Ok(()) }
}

/// Whether giving out this address, the lowest free one, may have crossed a threshold.
pub(crate) fn is_due(pool: &Pool, given: IpAddr) -> bool {
    pool.watch_from.is_some_and(|from| number(given) >= from)
}

/// Has the pool's usage looked at after giving out an address that says nothing about it: one asked for, or of a group.
pub(crate) fn look(pool: &Pool) -> Result<()> {
    if pool.watch_from.is_none() {
        return Ok(());
    }
    if usage_signal::is_watched() {
        free_map::signal_usage(pool);
        return Ok(());
    }
    // A transaction that notifies cannot be prepared, and an old snapshot cannot count: maintain_pools tells then.
    if settings::may_prepare() || session::snapshot_is_fixed() { Ok(()) } else { count(pool) }
}

/// Counts and tells in the transaction at hand.
fn count(pool: &Pool) -> Result<()> {
    static RAISE: Statement = Statement::new("SELECT nebula.raise_alarm($1)");
    let large = pool.network.assignable_count() > SMALL;
    if large && LOOKED.get().is_some_and(|at| at.elapsed() < PAUSE) {
        return Ok(());
    }
    let raised = RAISE.query_opt(&[pool.id.into()], |row| row.get::<bool>(1))?.flatten();
    LOOKED.set((raised == Some(false)).then(Instant::now));
    Ok(())
}

/// Counts and tells as the background worker: `up` are pools whose usage may have reached a threshold, `down` such whose
/// usage may have fallen below one.
pub(crate) fn count_all(up: Vec<i32>, down: Vec<i32>) -> Result<()> {
    static RAISE: Statement = Statement::new(
        "SELECT nebula.raise_alarm(p.pool_id) FROM nebula.pool p
          WHERE p.pool_id = ANY ($1) OR p.alarmed > 0 AND p.pool_id = ANY ($2)",
    );
    RAISE.run(&[up.into(), down.into()])
}
