//! What the end of a transaction means for the map. Nothing here may fail: the transaction is over.

use std::sync::atomic::Ordering::SeqCst;

use super::{cursor, shared, usage_signal};
use crate::pg::session::database;
use nebula_core::bitmap_page::PAGE_SHIFT;
use nebula_core::page_table::{PageKey, PageTable, PoolKey};
use nebula_core::pending_addresses::{Change, ChangeKind};

/// Page and bit of an address.
pub(super) fn place(pool: PoolKey, number: u128) -> (PageKey, u16) {
    (PageKey { pool, number: number >> PAGE_SHIFT }, (number & ((1 << PAGE_SHIFT) - 1)) as u16)
}

/// What was claimed is held, what was given back is free.
pub(super) fn committed(changes: &[Change]) {
    let shared = shared::read(|map| {
        for change in changes {
            commit(map, change);
        }
    });
    if shared.is_some() {
        if changes.iter().any(|change| change.kind == ChangeKind::UsageCheck) {
            usage_signal::wake();
        }
    } else {
        for change in changes {
            match change.kind {
                ChangeKind::Released | ChangeKind::Quarantined(_) => {
                    cursor::lower(change.pool, change.number)
                }
                ChangeKind::Invalidated => cursor::forget_all(),
                ChangeKind::Claimed | ChangeKind::Inserted | ChangeKind::UsageCheck => {}
            }
        }
    }
}

fn commit(map: &PageTable<'_>, change: &Change) {
    let pool = PoolKey { database: database(), pool: change.pool };
    let (key, bit) = place(pool, change.number);
    let slot = map.slot(pool);
    let page = map.find(key);
    match change.kind {
        ChangeKind::Claimed | ChangeKind::Inserted => {
            if let Some(page) = page {
                page.set_held(bit);
            }
            if let (ChangeKind::Claimed, Some(slot)) = (change.kind, slot) {
                slot.in_flight.fetch_sub(1, SeqCst);
            }
        }
        ChangeKind::Released => {
            if let Some(page) = page {
                page.clear_held(bit);
            }
            if let Some(slot) = slot {
                slot.mark_free(key.number);
            }
        }
        ChangeKind::Quarantined(until) => {
            if let Some(page) = page {
                page.expire_at(until);
            }
            if let Some(slot) = slot {
                slot.expires.fetch_min(until, SeqCst);
            }
        }
        ChangeKind::Invalidated => map.invalidate(pool.database, (pool.pool != 0).then_some(pool.pool)),
        ChangeKind::UsageCheck => {
            if let Some(slot) = slot {
                slot.usage_checks.fetch_add(1, SeqCst);
            }
        }
    }
}

/// What was claimed is free again; rows that were deleted are there again, and their bits never went away.
pub(super) fn undone(changes: &[Change]) {
    let claims = || changes.iter().filter(|change| change.kind == ChangeKind::Claimed);
    let shared = shared::read(|map| claims().for_each(|change| release(map, change)));
    if shared.is_none() {
        claims().for_each(|change| cursor::lower(change.pool, change.number));
    }
}

/// Ends a claim.
pub(super) fn release(map: &PageTable<'_>, change: &Change) {
    let pool = PoolKey { database: database(), pool: change.pool };
    let (key, bit) = place(pool, change.number);
    if let Some(page) = map.find(key) {
        page.unclaim(bit);
    }
    if let Some(slot) = map.slot(pool) {
        slot.in_flight.fetch_sub(1, SeqCst);
        slot.mark_free(key.number);
    }
}

/// The outcome comes later, from another session that will not tell: its claims count as held until then, and once it
/// is over its pools are read anew.
pub(super) fn prepared(changes: &[Change], transaction: u32) {
    shared::write(|map| {
        for change in changes {
            if matches!(change.kind, ChangeKind::Claimed | ChangeKind::UsageCheck) {
                commit(map, change);
            }
            let database = database();
            if change.kind == ChangeKind::Invalidated && change.pool == 0 {
                map.slots_of(database)
                    .for_each(|(pool, _)| map.track_orphan(PoolKey { database, pool }, transaction));
            } else {
                map.track_orphan(PoolKey { database, pool: change.pool }, transaction);
            }
        }
    });
}
