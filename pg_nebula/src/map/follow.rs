//! What the end of a transaction means for the map. Nothing here may fail: the transaction is over.

use std::sync::atomic::Ordering::SeqCst;

use super::callbacks::database;
use super::directory::{Directory, PageKey, PoolKey};
use super::log::{Entry, Event};
use super::page::PAGE_BITS;
use super::{local, shared, watcher};

/// Page and bit of an address.
pub(super) fn place(pool: PoolKey, number: u128) -> (PageKey, u16) {
    (PageKey { pool, number: number >> PAGE_BITS }, (number & ((1 << PAGE_BITS) - 1)) as u16)
}

/// What was claimed is held, what was given back is free.
pub(super) fn committed(entries: &[Entry]) {
    let shared = shared::read(|map| {
        for entry in entries {
            commit(map, entry);
        }
    });
    if shared.is_some() {
        if entries.iter().any(|entry| entry.event == Event::Crossed) {
            watcher::wake();
        }
    } else {
        for entry in entries {
            match entry.event {
                Event::Given | Event::Quarantined(_) => local::lower(entry.pool, entry.number),
                Event::Restart => local::forget_all(),
                Event::Claimed | Event::Retaken | Event::Crossed => {}
            }
        }
    }
}

fn commit(map: &Directory<'_>, entry: &Entry) {
    let pool = PoolKey { database: database(), pool: entry.pool };
    let (key, bit) = place(pool, entry.number);
    let slot = map.slot(pool);
    let page = map.find(key);
    match entry.event {
        Event::Claimed | Event::Retaken => {
            if let Some(page) = page {
                page.hold(bit);
            }
            if let (Event::Claimed, Some(slot)) = (entry.event, slot) {
                slot.in_flight.fetch_sub(1, SeqCst);
            }
        }
        Event::Given => {
            if let Some(page) = page {
                page.give(bit);
            }
            if let Some(slot) = slot {
                slot.reopen(key.number);
            }
        }
        Event::Quarantined(until) => {
            if let Some(page) = page {
                page.expire_at(until);
            }
            if let Some(slot) = slot {
                slot.expires.fetch_min(until, SeqCst);
            }
        }
        Event::Restart => map.restart(pool.database, (pool.pool != 0).then_some(pool.pool)),
        Event::Crossed => {
            if let Some(slot) = slot {
                slot.crossed.fetch_add(1, SeqCst);
            }
        }
    }
}

/// What was claimed is free again; rows that were deleted are there again, and their bits never went away.
pub(super) fn undone(entries: &[Entry]) {
    let claims = || entries.iter().filter(|entry| entry.event == Event::Claimed);
    let shared = shared::read(|map| claims().for_each(|entry| release(map, entry)));
    if shared.is_none() {
        claims().for_each(|entry| local::lower(entry.pool, entry.number));
    }
}

/// Ends a claim.
pub(super) fn release(map: &Directory<'_>, entry: &Entry) {
    let pool = PoolKey { database: database(), pool: entry.pool };
    let (key, bit) = place(pool, entry.number);
    if let Some(page) = map.find(key) {
        page.unclaim(bit);
    }
    if let Some(slot) = map.slot(pool) {
        slot.in_flight.fetch_sub(1, SeqCst);
        slot.reopen(key.number);
    }
}

/// The outcome comes later, from another session that will not tell: its claims count as held until then, and once it
/// is over its pools are read anew.
pub(super) fn prepared(entries: &[Entry], transaction: u32) {
    shared::write(|map| {
        for entry in entries {
            if matches!(entry.event, Event::Claimed | Event::Crossed) {
                commit(map, entry);
            }
            let database = database();
            if entry.event == Event::Restart && entry.pool == 0 {
                map.slots_of(database)
                    .for_each(|(pool, _)| map.watch(PoolKey { database, pool }, transaction));
            } else {
                map.watch(PoolKey { database, pool: entry.pool }, transaction);
            }
        }
    });
}
