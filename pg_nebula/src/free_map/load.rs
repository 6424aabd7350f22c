//! Reading a page from the table into shared memory.

use std::sync::atomic::Ordering::SeqCst;

use super::scan::{self, Reading};
use super::shared;
use crate::pg::advisory_lock::{AdvisoryLock, LockSpace};
use crate::pg::error::Result;
use crate::pg::session::{is_running, statement_start};
use crate::pools::pool::Pool;
use nebula_core::bitmap_page::{BITMAP_WORDS, Bitmap, PAGE_SHIFT};
use nebula_core::page_table::{PageKey, PoolKey};

/// Scans per load. Words in which an address is released during a scan are read again by the next one. After
/// the last scan their bits are cleared instead: a bit wrongly set would hide a free address, one wrongly
/// clear costs a conflict.
const MAX_SCANS: usize = 4;

/// Least time between two loads of a page, in microseconds, however soon a quarantine in it ends.
const MIN_RELOAD_INTERVAL: i64 = 1_000_000;

/// Reads a page that is absent or out of date; `false` when there is no room for it.
pub(super) fn load(pool: &Pool, key: PoolKey, number: u128) -> Result<bool> {
    // Sessions that need the page wait for the first one that reads it.
    let lock = AdvisoryLock::acquire(LockSpace::MapPage, pool.id.cast_unsigned(), number as u32);
    let loaded = load_locked(pool, PageKey { pool: key, number })?;
    lock.release();
    Ok(loaded)
}

fn load_locked(pool: &Pool, key: PageKey) -> Result<bool> {
    let now = statement_start();
    // Exclusive, because a page may be evicted. The generation is read before the rows, so that an
    // invalidation that arrives while they are read makes the page out of date.
    let begun = shared::write(|map| {
        let slot = map.slot(key.pool)?;
        let generation = slot.generation.load(SeqCst);
        let page = map.add(key)?;
        if page.is_current(generation, now) {
            return Some((generation, true));
        }
        page.begin_load();
        slot.rebuilds.fetch_add(1, SeqCst);
        Some((generation, false))
    });
    let Some((generation, done)) = begun.flatten() else { return Ok(false) };
    if done {
        return Ok(true);
    }
    let mut expires = i64::MAX;
    let mut range = 0..BITMAP_WORDS;
    for attempt in 1.. {
        let mut words: Bitmap = [0; BITMAP_WORDS];
        set_reserved_bits(pool, key.number, &mut words);
        if attempt <= MAX_SCANS {
            let reading = scan::read(pool, key.number, &range, now, &mut words)?;
            expires = expires.min(reading.expires);
            track_unclaimed(key, &reading);
        }
        let published =
            shared::read(|map| map.find(key).map(|page| page.store_loaded(&words, range.clone())));
        // Evicted meanwhile: the next search reads it again.
        let Some(again) = published.flatten() else { return Ok(true) };
        match again {
            Some(again) if attempt <= MAX_SCANS => range = again,
            _ => break,
        }
    }
    shared::read(|map| {
        if let Some(page) = map.find(key) {
            page.finish_load(generation, expires.max(now.saturating_add(MIN_RELOAD_INTERVAL)));
        }
        // A search that saw the old bits may have moved the hint past this page.
        if let Some(slot) = map.slot(key.pool) {
            slot.lower_hint(key.number);
        }
    });
    Ok(true)
}

/// Sets the bits of addresses in the page that the pool does not assign.
pub(super) fn set_reserved_bits(pool: &Pool, number: u128, words: &mut Bitmap) {
    let first = number << PAGE_SHIFT;
    let last = first | ((1 << PAGE_SHIFT) - 1);
    let mut set = |low: u128, high: u128| {
        if low <= last && high >= first {
            set_bits(words, (low.max(first) - first) as usize, (high.min(last) - first) as usize);
        }
    };
    let range = pool.network.assignable();
    if let Some(below) = range.start().checked_sub(1) {
        set(0, below);
    }
    if let Some(above) = range.end().checked_add(1) {
        set(above, u128::MAX);
    }
    if let Some(gateway) = pool.gateway.map(nebula_core::address::number) {
        set(gateway, gateway);
    }
    for reservation in &pool.reservations {
        set(*reservation.range.start(), *reservation.range.end());
    }
}

/// Sets the bits from `low` to `high`.
fn set_bits(words: &mut Bitmap, low: usize, high: usize) {
    for (word, bits) in words.iter_mut().enumerate().take(high / 64 + 1).skip(low / 64) {
        let from = low.saturating_sub(word * 64);
        let to = (high - word * 64).min(63);
        *bits |= (u64::MAX << from) & (u64::MAX >> (63 - to));
    }
}

/// Tracks the transactions of rows in flight without a claim: the map is not told when those end.
fn track_unclaimed(key: PageKey, reading: &Reading) {
    if reading.in_flight.is_empty() && reading.orphans.is_empty() {
        return;
    }
    shared::write(|map| {
        let Some(page) = map.find(key) else { return };
        for (bit, transaction) in &reading.in_flight {
            if !page.is_claimed(*bit) {
                map.track_orphan(key.pool, *transaction);
            }
        }
        for transaction in &reading.orphans {
            map.track_orphan(key.pool, *transaction);
        }
    });
}

/// Invalidates the pages of a pool if a tracked transaction has ended.
pub(super) fn end_orphans(key: PoolKey) {
    let orphans = shared::read(|map| if map.has_orphans() { map.orphans_of(key) } else { Vec::new() });
    for transaction in orphans.into_iter().flatten().filter(|transaction| !is_running(*transaction)) {
        shared::write(|map| map.end_orphan(key, transaction));
    }
}
