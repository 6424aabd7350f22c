//! Whether a pool is exhausted, which only the table can tell.

use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;

use super::keys::pool_key;
use super::lowest_free_range::lowest_free_range;
use super::pending::with_pending;
use super::shared;
use crate::pg::error::Result;
use crate::pg::session::statement_start;
use crate::pools::pool::Pool;

/// The lowest assignable address without a row; a transaction in flight may be about to insert one. `None`:
/// the pool is exhausted.
///
/// An exhausted pool is noted in the map until an address may have become free, so that the next call reads
/// nothing.
pub(crate) fn lowest_without_row(pool: &Pool) -> Result<Option<IpAddr>> {
    let key = pool_key(pool);
    let before = shared::read(|map| {
        map.slot(key).map(|slot| {
            slot.rewind_if_expired(statement_start());
            (slot.releases.load(SeqCst), slot.full_at.load(SeqCst))
        })
    });
    let before = before.flatten();
    if before.is_some_and(|(releases, full_at)| full_at == releases + 1) {
        return Ok(None);
    }
    let free = lowest_assignable(pool)?;
    // Not noted when this transaction inserted rows: after a rollback the pool would not be exhausted.
    if free.is_none() && with_pending(|pending| pending.is_empty()) {
        shared::read(|map| {
            if let (Some(slot), Some((releases, _))) = (map.slot(key), before) {
                slot.full_at.store(releases + 1, SeqCst);
            }
        });
    }
    Ok(free.map(|number| pool.network.family().address(number)))
}

fn lowest_assignable(pool: &Pool) -> Result<Option<u128>> {
    let family = pool.network.family();
    let last = *pool.network.assignable().end();
    let mut from = pool.assignable_from(*pool.network.assignable().start());
    while let Some(start) = from {
        let Some((low, high)) = lowest_free_range(pool.project, family, start, last)? else {
            return Ok(None);
        };
        match pool.assignable_from(low) {
            Some(free) if free <= high => return Ok(Some(free)),
            next => from = next,
        }
    }
    Ok(None)
}

/// Counts a wait for a transaction in flight, for `map_status`.
pub(crate) fn count_wait(pool: &Pool) {
    shared::read(|map| {
        if let Some(slot) = map.slot(pool_key(pool)) {
            slot.waits.fetch_add(1, SeqCst);
        }
    });
}
