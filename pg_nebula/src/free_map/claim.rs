//! Claims: an address that this transaction is about to insert, so that other sessions skip it.

use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;

use nebula_core::address::number;
use nebula_core::pending_addresses::{Change, ChangeKind};

use super::address_lock::try_lock_address;
use super::keys::{page_and_bit, pool_key};
use super::pending::{record, with_pending};
use super::{apply, cursor, shared};
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

/// Tells the map of a row that was inserted without a claim, or after the claim had ended.
///
/// Without a claim the address would look free, and other sessions would try it and wait for this
/// transaction.
pub(crate) fn note_inserted(pool: &Pool, address: IpAddr) {
    if !claim_shared(pool, number(address)) {
        record(pool.id, number(address), ChangeKind::Inserted);
    }
}

/// Ends a claim that led to no row: the address is free again.
pub(crate) fn release_claim(pool: &Pool, address: IpAddr) {
    release_number(pool, number(address));
}

pub(super) fn release_number(pool: &Pool, number: u128) {
    if with_pending(|pending| pending.retract(pool.id, number)) == Some(ChangeKind::Claimed) {
        let change = Change { subtransaction: 0, pool: pool.id, number, kind: ChangeKind::Claimed };
        if shared::read(|map| apply::release_claim(map, &change)).is_none() {
            cursor::lower(pool.id, number);
        }
    }
}

/// Ends a claim on an address that another row holds: the map shows it as held.
pub(super) fn mark_held(pool: &Pool, number: u128) {
    let retracted = with_pending(|pending| pending.retract(pool.id, number));
    if retracted == Some(ChangeKind::Inserted) {
        // This transaction released the address, and inserted it again by hand: it stays taken.
        record(pool.id, number, ChangeKind::Inserted);
    }
    let key = pool_key(pool);
    let (page, bit) = page_and_bit(key, number);
    shared::read(|map| {
        if let (Some(ChangeKind::Claimed), Some(slot)) = (retracted, map.slot(key)) {
            slot.in_flight.fetch_sub(1, SeqCst);
            slot.conflicts.fetch_add(1, SeqCst);
        }
        if let Some(page) = map.find(page) {
            page.set_held(bit);
        }
    });
}
