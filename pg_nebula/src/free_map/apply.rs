//! Applies the changes of a transaction to the map when it ends. Nothing here may fail: the transaction is
//! over.

use std::sync::atomic::Ordering::SeqCst;

use super::keys::page_and_bit;
use super::{cursor, shared, usage_signal};
use crate::pg::session::database;
use nebula_core::page_table::{PageTable, PoolKey};
use nebula_core::pending_addresses::{Change, ChangeKind};

/// Commit: claimed addresses are held, released ones are free.
pub(super) fn committed(changes: &[Change]) {
    let shared = shared::read(|map| {
        for change in changes {
            commit(map, change);
        }
    });
    if shared.is_some() {
        if changes.iter().any(|change| change.kind == ChangeKind::UsageCheck) {
            usage_signal::wake_watcher();
        }
    } else {
        for change in changes {
            match change.kind {
                ChangeKind::Released | ChangeKind::Quarantined(_) => {
                    cursor::lower(change.pool, change.number)
                }
                ChangeKind::Invalidated => cursor::reset_all(),
                ChangeKind::Claimed | ChangeKind::Inserted | ChangeKind::UsageCheck => {}
            }
        }
    }
}

fn commit(map: &PageTable<'_>, change: &Change) {
    let pool = PoolKey { database: database(), pool: change.pool };
    let (key, bit) = page_and_bit(pool, change.number);
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

/// Rollback: claimed addresses are free again. Released ones are held as before; their bits were not changed
/// yet. A page that this transaction loaded after it had changed a pool or reserved a range shows that change, so
/// the pool's pages are read again.
pub(super) fn rolled_back(changes: &[Change]) {
    let shared = shared::read(|map| {
        for change in changes {
            match change.kind {
                ChangeKind::Claimed => release_claim(map, change),
                ChangeKind::Invalidated => commit(map, change),
                _ => {}
            }
        }
    });
    if shared.is_none() {
        for change in changes {
            match change.kind {
                ChangeKind::Claimed => cursor::lower(change.pool, change.number),
                ChangeKind::Invalidated => cursor::reset_all(),
                _ => {}
            }
        }
    }
}

/// Ends a claim without a row.
pub(super) fn release_claim(map: &PageTable<'_>, change: &Change) {
    let pool = PoolKey { database: database(), pool: change.pool };
    let (key, bit) = page_and_bit(pool, change.number);
    if let Some(page) = map.find(key) {
        page.unclaim(bit);
    }
    if let Some(slot) = map.slot(pool) {
        slot.in_flight.fetch_sub(1, SeqCst);
        slot.mark_free(key.number);
    }
}

/// `PREPARE TRANSACTION`: another session ends the transaction, and the map is not told. Claims count as held
/// until then; when the transaction has ended, the pages of its pools are read again.
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
