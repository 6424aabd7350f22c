//! Telling listeners, once, that a pool is filling up.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::address::number;
use crate::error::Result;
use crate::plan::Plan;
use crate::pool::Pool;

/// How long a session that has looked in vain does not look at a large pool again.
const PAUSE: Duration = Duration::from_secs(1);

/// Pools of at most this many addresses are counted whenever there is reason to, which takes less than a millisecond.
const SMALL: u128 = 4096;

thread_local! {
    /// When this session last looked in vain.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Looks at the pool's usage if giving out the lowest free address had to go as far as a threshold.
///
/// Far below a threshold this compares two numbers; rows are counted about once for each threshold crossed.
pub(crate) fn watch(pool: &Pool, given: IpAddr) -> Result<()> {
    if is_due(pool, given) { look(pool) } else { Ok(()) }
}

/// Whether giving out this address, the lowest free one, may have crossed a threshold.
pub(crate) fn is_due(pool: &Pool, given: IpAddr) -> bool {
    pool.watch_from.is_some_and(|from| number(given) >= from)
}

/// Looks at the pool's usage after giving out an address that says nothing about it: one asked for, or of a group.
pub(crate) fn look(pool: &Pool) -> Result<()> {
    static RAISE: Plan = Plan::new("SELECT nebula.raise_alarm($1)");
    let large = pool.network.assignable_count() > SMALL;
    if pool.watch_from.is_none() || (large && LOOKED.get().is_some_and(|at| at.elapsed() < PAUSE)) {
        return Ok(());
    }
    let raised = RAISE.first(&[pool.id.into()], |row| row.get::<bool>(1))?.flatten();
    LOOKED.set((raised != Some(true)).then(Instant::now));
    Ok(())
}
