//! Claims: an address that this transaction is about to insert, so that other sessions skip it.

use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;

use nebula_core::address::number;
use nebula_core::bitmap_page::Page;
use nebula_core::map_changes;
use nebula_core::page_table::PoolSlot;
use nebula_core::pending_addresses::ChangeKind;

use super::address_lock::try_lock_address;
use super::keys::{page_and_bit, pool_key};
use super::pending::{record, with_pending};
use super::{cursor, scan, shared};
use crate::pg::error::Result;
use crate::pg::session::statement_start;
use crate::pools::pool::Pool;

/// Claims an address that a caller asked for. Whether it is free is decided by the insert that follows.
pub(crate) fn claim(pool: &Pool, address: IpAddr) {
    if shared::is_present() {
        claim_shared(pool, number(address));
    } else {
        try_lock_address(pool, number(address));
    }
}

/// `false` when another transaction has claimed the address, or its page is not in memory.
fn claim_shared(pool: &Pool, number: u128) -> bool {
    let key = pool_key(pool);
    let (page, bit) = page_and_bit(key, number);
    let claimed = shared::read(|map| {
        let (Some(slot), Some(page)) = (map.slot(key), map.find(page)) else { return false };
        let claimed = page.claim(bit);
        if claimed {
            slot.in_flight.fetch_add(1, SeqCst);
        }
        claimed
    });
    if claimed == Some(true) {
        record(pool.id, number, ChangeKind::Claimed);
    }
    claimed == Some(true)
}

/// How long searches skip an address whose index entries are many, in microseconds.
const SKIP_TIME: i64 = 5_000_000;

/// Has searches skip an address, and those before it, for a while: its insert read the entries of many dead
/// rows, which cannot be removed while an old snapshot may see them. The address stays free, and is found
/// when no other is.
pub(crate) fn skip_bloated(pool: &Pool, address: IpAddr) {
    let until = statement_start() + SKIP_TIME;
    shared::read(|map| map.slot(pool_key(pool)).map(|slot| slot.skip_up_to(number(address), until)));
}

/// Records the insertion of a row whose address this transaction has claimed by a search.
pub(crate) fn record_inserted(pool: &Pool, address: IpAddr) {
    record(pool.id, number(address), ChangeKind::Inserted);
}

/// Records the insertion of a row whose address this transaction may not have claimed.
///
/// Without a claim the address would look free, and other sessions would try it and wait for this
/// transaction.
pub(crate) fn claim_inserted(pool: &Pool, address: IpAddr) {
    claim_shared(pool, number(address));
    record_inserted(pool, address);
}

/// Ends a claim that led to no row: the address is free again.
pub(crate) fn release_claim(pool: &Pool, address: IpAddr) {
    release_number(pool, number(address));
}

pub(super) fn release_number(pool: &Pool, number: u128) {
    if with_pending(|pending| pending.retract(pool.id, number)) == Some(ChangeKind::Claimed)
        && shared::read(|map| map_changes::release_claim(map, pool_key(pool), number)).is_none()
    {
        cursor::lower(pool.id, number);
    }
}

/// Ends a claim on a reserved address.
pub(super) fn hold_reserved(pool: &Pool, number: u128) {
    end_claim(pool, number, |page, bit, _| page.set_held(bit));
}

/// Ends a claim whose insert was refused. If there is a row, committed or not, the map shows the address as
/// held. Without one the address is free: another row of the same device was in the way, or the row has gone.
/// Returns whether there is a row.
pub(super) fn end_refused(pool: &Pool, number: u128) -> Result<bool> {
    if !shared::is_present() {
        end_claim(pool, number, |_, _, _| ());
        return Ok(true);
    }
    let key = pool_key(pool);
    let (page, bit) = page_and_bit(key, number);
    let releases = shared::read(|map| map.slot(key).map(|slot| slot.releases.load(SeqCst))).flatten();
    let row = scan::find_row(pool, page.number, bit)?;
    let (Some(releases), Some(transactions)) = (releases, row) else {
        release_number(pool, number);
        return Ok(false);
    };
    end_claim(pool, number, |found, bit, slot| {
        slot.conflicts.fetch_add(1, SeqCst);
        map_changes::hold_found_row(found, bit, slot, page.number, releases);
    });
    // After the bit was set: if one has ended by now, the page is read again.
    for transaction in transactions {
        shared::write(|map| map.track_orphan(key, transaction));
    }
    Ok(true)
}

/// Ends a claim by giving the address its bits.
fn end_claim(pool: &Pool, number: u128, set_bits: impl FnOnce(&Page, u16, &PoolSlot)) {
    let retracted = with_pending(|pending| pending.retract(pool.id, number));
    if retracted == Some(ChangeKind::Inserted) {
        // This transaction released the address, and inserted it again by hand: it stays taken.
        record(pool.id, number, ChangeKind::Inserted);
    }
    let key = pool_key(pool);
    let (page, bit) = page_and_bit(key, number);
    shared::read(|map| {
        let Some(slot) = map.slot(key) else { return };
        if retracted == Some(ChangeKind::Claimed) {
            slot.in_flight.fetch_sub(1, SeqCst);
        }
        if let Some(page) = map.find(page) {
            set_bits(page, bit, slot);
        }
    });
}
