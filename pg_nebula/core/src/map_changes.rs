//! Changes of the free map before and after the end of a transaction.
//!
//! Other sessions see the rows of a transaction, and may delete them and commit, before the server tells the
//! extension of the commit. A held bit that was set only then could follow the release that was to clear it,
//! and hide a free address. So held bits are set before the commit ([`before_commit`]) while the claims stay,
//! and only cleared after it. Model tests check that (`map_changes/model.rs`).

use std::sync::atomic::Ordering::SeqCst;

use crate::bitmap_page::{PAGE_SHIFT, Page};
use crate::page_table::{PageKey, PageTable, PoolKey, PoolSlot};
use crate::pending_addresses::{Change, ChangeKind};

/// Page of an address, and its bit in that page.
pub fn page_and_bit(pool: PoolKey, number: u128) -> (PageKey, u16) {
    (PageKey { pool, number: number >> PAGE_SHIFT }, (number & ((1 << PAGE_SHIFT) - 1)) as u16)
}

/// The commit is about to begin: inserted addresses are held from now on. If it fails, [`rolled_back`]
/// follows.
pub fn before_commit(map: &PageTable<'_>, database: u32, changes: &[Change]) {
    for change in changes.iter().filter(|change| change.kind == ChangeKind::Inserted) {
        let (key, bit) = page_and_bit(PoolKey { database, pool: change.pool }, change.number);
        if let Some(page) = map.find(key) {
            page.publish(bit);
        }
    }
}

/// The transaction has committed: claims end, released addresses are free.
pub fn committed(map: &PageTable<'_>, database: u32, changes: &[Change]) {
    changes.iter().for_each(|change| commit(map, database, change));
}

fn commit(map: &PageTable<'_>, database: u32, change: &Change) {
    let pool = PoolKey { database, pool: change.pool };
    match change.kind {
        ChangeKind::Claimed => {
            let (key, bit) = page_and_bit(pool, change.number);
            let is_free = map.find(key).is_some_and(|page| page.settle(bit));
            if let Some(slot) = map.slot(pool) {
                slot.in_flight.fetch_sub(1, SeqCst);
                if is_free {
                    slot.mark_free(key.number);
                }
            }
        }
        ChangeKind::Inserted => {}
        ChangeKind::Released => mark_free(map, pool, change.number, Page::clear_held),
        ChangeKind::Quarantined(until) => {
            if let Some(page) = map.find(page_and_bit(pool, change.number).0) {
                page.expire_at(until);
            }
            if let Some(slot) = map.slot(pool) {
                slot.expires.fetch_min(until, SeqCst);
            }
        }
        ChangeKind::Invalidated => map.invalidate(database, (change.pool != 0).then_some(change.pool)),
        ChangeKind::UsageCheck => {
            if let Some(slot) = map.slot(pool) {
                slot.usage_checks.fetch_add(1, SeqCst);
            }
        }
    }
}

/// The transaction or a subtransaction was rolled back: claimed and inserted addresses are free again.
/// Released ones are held as before; their bits were not changed yet. A page that the transaction loaded
/// after it had changed a pool or reserved a range shows that change, so the pool's pages are read again.
pub fn rolled_back(map: &PageTable<'_>, database: u32, changes: &[Change]) {
    for change in changes {
        let pool = PoolKey { database, pool: change.pool };
        match change.kind {
            ChangeKind::Claimed => release_claim(map, pool, change.number),
            // Set by `before_commit`, by a load that read the row, or by a search that met it.
            ChangeKind::Inserted => mark_free(map, pool, change.number, Page::clear_held),
            ChangeKind::Invalidated => commit(map, database, change),
            ChangeKind::Released | ChangeKind::Quarantined(_) | ChangeKind::UsageCheck => {}
        }
    }
}

/// `PREPARE TRANSACTION`: another session ends the transaction, and the map is not told. Addresses that it
/// inserted count as held until then; when the transaction has ended, the pages of its pools are read again.
/// Needs the exclusive lock.
pub fn prepared(map: &PageTable<'_>, database: u32, changes: &[Change], transaction: u32) {
    before_commit(map, database, changes);
    for change in changes {
        if matches!(change.kind, ChangeKind::Claimed | ChangeKind::UsageCheck) {
            commit(map, database, change);
        }
        if change.kind == ChangeKind::Invalidated && change.pool == 0 {
            map.slots_of(database)
                .for_each(|(pool, _)| map.track_orphan(PoolKey { database, pool }, transaction));
        } else {
            map.track_orphan(PoolKey { database, pool: change.pool }, transaction);
        }
    }
}

/// Ends a claim without a row.
pub fn release_claim(map: &PageTable<'_>, pool: PoolKey, number: u128) {
    mark_free(map, pool, number, Page::unclaim);
    if let Some(slot) = map.slot(pool) {
        slot.in_flight.fetch_sub(1, SeqCst);
    }
}

/// Clears a bit of an address, and has searches begin no later than at its page.
fn mark_free(map: &PageTable<'_>, pool: PoolKey, number: u128, clear: impl FnOnce(&Page, u16)) {
    let (key, bit) = page_and_bit(pool, number);
    let slot = map.slot(pool);
    if let Some(slot) = slot {
        slot.count_release();
    }
    if let Some(page) = map.find(key) {
        clear(page, bit);
    }
    if let Some(slot) = slot {
        slot.lower_hint(key.number);
    }
}

/// A session has found the row of an address that it has claimed: ends the claim, and marks the address as
/// held. `releases` is the number of the pool's releases before the session looked. If there was one since,
/// it may have been that of this row, and the bit is cleared again.
pub fn hold_found_row(page: &Page, bit: u16, slot: &PoolSlot, number: u128, releases: u64) {
    page.set_held(bit);
    if slot.releases.load(SeqCst) != releases {
        page.clear_held(bit);
        slot.lower_hint(number);
    }
}

#[cfg(all(test, feature = "loom"))]
mod model;
