//! Where to look for a free address.
//!
//! Everything here is a hint: the primary key of nebula.allocation decides. In shared memory, when the extension is
//! preloaded, two bits say of each address whether a row holds it and whether a transaction in flight is about to;
//! they are read from the table in pages on first use ([`load`]) and follow the ends of transactions ([`apply`]).
//! Without preload the table itself is searched, from where the session's last search ended ([`cursor`]).
//!
//! [`Search`] returns the lowest address that nobody holds or has claimed. Only the table can say that nothing is
//! left: [`lowest_without_row`].

mod address_lock;
mod apply;
mod cursor;
mod dump;
mod load;
pub(crate) mod lowest_free_range;
mod pending;
pub(crate) mod prewarm;
mod row;
mod scan;
mod shared;
pub(crate) mod status;
pub(crate) mod trigger;
pub(crate) mod usage_signal;
pub(crate) mod verify;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::SeqCst;

use nebula_core::address::number;
use nebula_core::bitmap_page::{PAGE_SHIFT, Page};
use nebula_core::page_table::{PageKey, PageTable, PoolKey};
use nebula_core::pending_addresses::{Change, ChangeKind};

pub(crate) use address_lock::mark;
use apply::place;
pub(crate) use cursor::forget_all;
pub(crate) use lowest_free_range::lowest_free_range;
pub(crate) use pending::LISTENER as TRANSACTION_LISTENER;
use pending::{record, with_pending};

use crate::pg::error::Result;
use crate::pg::session::{database, snapshot_is_fixed, statement_start};
use crate::pg::shmem::Region;
use crate::pools::pool::Pool;

/// The region of shared memory that holds the map.
pub(crate) const REGION: &Region = &shared::REGION;

/// Another session released addresses. With a shared map that session changes the map itself.
pub(crate) fn addresses_released() {
    if !shared::present() {
        forget_all();
    }
}

/// Asks the background worker to look at the usage of a pool when this transaction commits.
pub(crate) fn signal_usage(pool: &Pool) {
    record(pool.id, 0, ChangeKind::UsageCheck);
}

/// Claims in a row that conflict before their page is read anew: somebody filled the table by hand.
const MAX_CONFLICTS: u32 = 8;

/// A search through one pool from its lowest address.
pub(crate) struct Search<'a> {
    pool: &'a Pool,
    /// The search without shared memory; it knows where it is.
    walk: Option<cursor::Cursor>,
    /// The address answered last.
    last: Option<u128>,
    conflicts: u32,
}

/// What one look at the map found.
enum Look {
    /// Claimed: this address.
    Claimed(u128),
    /// The page with this number must be read first.
    Absent(u128),
    /// The pool must be made known first.
    Unknown,
    /// Nothing is free.
    Full,
}

impl<'a> Search<'a> {
    /// Prepares to search.
    pub(crate) fn new(pool: &'a Pool) -> Self {
        let walk = if shared::present() { None } else { Some(cursor::Cursor::new(pool)) };
        Self { pool, walk, last: None, conflicts: 0 }
    }

    /// Claims the lowest address that is free as far as anyone knows; `None`: ask the table. Try to insert it.
    pub(crate) fn take(&mut self) -> Result<Option<IpAddr>> {
        self.last = match &mut self.walk {
            Some(walk) => {
                let found = walk.take(self.pool)?;
                if let Some(number) = found {
                    record(self.pool.id, number, ChangeKind::Claimed);
                }
                found
            }
            None => take(self.pool)?,
        };
        Ok(self.last.map(|number| self.pool.network.family().address(number)))
    }

    /// The last address was held after all.
    pub(crate) fn missed(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.missed();
        }
        let Some(last) = self.last.take() else { return };
        self.conflicts += 1;
        hold(self.pool, last);
        if self.conflicts >= MAX_CONFLICTS {
            let (page, _) = place(pool_key(self.pool), last);
            shared::read(|map| map.find(page).map(Page::invalidate));
            self.conflicts = 0;
        }
    }

    /// The last address is not needed.
    pub(crate) fn give_back(&mut self) {
        if let Some(last) = self.last.take() {
            drop_claim(self.pool, last);
        }
    }
}

/// Ends a claim on an address that cannot be had: it counts as held.
fn hold(pool: &Pool, number: u128) {
    let event = with_pending(|pending| pending.retract(pool.id, number));
    if event == Some(ChangeKind::Inserted) {
        // Given back and inserted again by hand: it stays taken.
        record(pool.id, number, ChangeKind::Inserted);
    }
    let key = pool_key(pool);
    let (page, bit) = place(key, number);
    shared::read(|map| {
        if let (Some(ChangeKind::Claimed), Some(slot)) = (event, map.slot(key)) {
            slot.in_flight.fetch_sub(1, SeqCst);
            slot.conflicts.fetch_add(1, SeqCst);
        }
        if let Some(page) = map.find(page) {
            page.set_held(bit);
        }
    });
}

/// Ends a claim that led to no row: the address is held by somebody else, or free after all.
pub(crate) fn end_claim(pool: &Pool, address: IpAddr, held: bool) {
    let end = if held { hold } else { drop_claim };
    end(pool, number(address));
}

fn drop_claim(pool: &Pool, number: u128) {
    if with_pending(|pending| pending.retract(pool.id, number)) == Some(ChangeKind::Claimed) {
        let change = Change { subtransaction: 0, pool: pool.id, number, kind: ChangeKind::Claimed };
        if shared::read(|map| apply::release(map, &change)).is_none() {
            cursor::lower(pool.id, number);
        }
    }
}

fn pool_key(pool: &Pool) -> PoolKey {
    PoolKey { database: database(), pool: pool.id }
}

/// Claims the lowest free address in shared memory.
fn take(pool: &Pool) -> Result<Option<u128>> {
    let range = pool.network.assignable();
    let (first, last) = (range.start() >> PAGE_SHIFT, range.end() >> PAGE_SHIFT);
    let key = pool_key(pool);
    load::look_after(key);
    let found = loop {
        match shared::read(|map| look(map, key, first, last)) {
            Some(Look::Claimed(number)) => {
                record(pool.id, number, ChangeKind::Claimed);
                if pool.assigns(pool.network.family().address(number)) {
                    break Some(number);
                }
                // A row there was deleted, which told the map that the address is free; but it is kept back.
                hold(pool, number);
            }
            // Whole pages may be kept back: those are never read.
            Some(Look::Absent(page)) => match pool.assignable_from(page << PAGE_SHIFT) {
                None => break None,
                Some(next) if next >> PAGE_SHIFT != page => {
                    shared::read(|map| map.slot(key).map(|slot| slot.skip_to(page, next >> PAGE_SHIFT)));
                }
                Some(_) if load::load(pool, key, page)? => {}
                Some(_) => break None,
            },
            Some(Look::Unknown) if shared::write(|map| map.add_slot(key, first).is_some()) == Some(true) => {}
            // Full, or no memory for the page: either way the table knows.
            _ => break None,
        }
    };
    // What this transaction gave back is free for itself, though held for all others until it commits.
    let own = lowest_own(pool, &range);
    if let Some(own) = own.filter(|own| found.is_none_or(|found| *own < found)) {
        if let Some(found) = found {
            drop_claim(pool, found);
        }
        record(pool.id, own, ChangeKind::Inserted);
        return Ok(Some(own));
    }
    Ok(found)
}

/// The lowest address that this transaction gave back and that is not kept back.
fn lowest_own(pool: &Pool, range: &RangeInclusive<u128>) -> Option<u128> {
    let mut from = *range.start();
    loop {
        let own = with_pending(|pending| pending.lowest_free(pool.id, &(from..=*range.end())))?;
        from = pool.assignable_from(own)?;
        if from == own {
            return Some(own);
        }
    }
}

fn look(map: &PageTable<'_>, pool: PoolKey, first: u128, last: u128) -> Look {
    let Some(slot) = map.slot(pool).filter(|slot| slot.base() == first) else { return Look::Unknown };
    let now = statement_start();
    slot.rewind_if_expired(now);
    loop {
        let hint = slot.hint();
        let number = first + u128::from(hint);
        if number > last {
            return Look::Full;
        }
        let page = map.find(PageKey { pool, number });
        let Some(page) = page.filter(|page| page.is_current(slot.generation.load(SeqCst), now)) else {
            return Look::Absent(number);
        };
        if let Some(bit) = page.claim_lowest() {
            slot.in_flight.fetch_add(1, SeqCst);
            slot.hits.fetch_add(1, SeqCst);
            return Look::Claimed((number << PAGE_SHIFT) | u128::from(bit));
        }
        slot.expires.fetch_min(page.expires(), SeqCst);
        slot.advance(hint, || page.has_room());
    }
}

/// Claims an address that was asked for, so that others pass it by; whether it is free, the insert says.
pub(crate) fn claim(pool: &Pool, address: IpAddr) -> Result<()> {
    if shared::present() {
        claim_shared(pool, number(address));
        return Ok(());
    }
    mark(pool, number(address)).map(drop)
}

/// `false` when another transaction has claimed the address, or its page is not in memory.
fn claim_shared(pool: &Pool, number: u128) -> bool {
    let key = pool_key(pool);
    let (page, bit) = place(key, number);
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

/// A row for this address was inserted without, or long after, a claim.
pub(crate) fn inserted(pool: &Pool, address: IpAddr) {
    // Unclaimed it would look free, and everybody would wait for this transaction instead of passing it by.
    if !claim_shared(pool, number(address)) {
        record(pool.id, number(address), ChangeKind::Inserted);
    }
}

/// The lowest address without a row, by the table: somebody may be about to hold it. `None`: the pool is full.
///
/// A full pool is remembered until an address may have become free, so that it answers at once.
pub(crate) fn lowest_without_row(pool: &Pool) -> Result<Option<IpAddr>> {
    let key = pool_key(pool);
    let before = shared::read(|map| {
        map.slot(key).map(|slot| {
            slot.rewind_if_expired(statement_start());
            (slot.releases.load(SeqCst), slot.full_at.load(SeqCst))
        })
    });
    let before = before.flatten();
    if !snapshot_is_fixed() && before.is_some_and(|(changes, full)| full == changes + 1) {
        return Ok(None);
    }
    let free = first_gap(pool)?;
    // Rows of one's own transaction may be rolled back, so a pool that is full with them is not full for others.
    if free.is_none() && !snapshot_is_fixed() && with_pending(|pending| pending.is_empty()) {
        shared::read(|map| {
            if let (Some(slot), Some((changes, _))) = (map.slot(key), before) {
                slot.full_at.store(changes + 1, SeqCst);
            }
        });
    }
    Ok(free.map(|number| pool.network.family().address(number)))
}

fn first_gap(pool: &Pool) -> Result<Option<u128>> {
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

/// Counts a wait for a transaction in flight.
pub(crate) fn waited(pool: &Pool) {
    shared::read(|map| {
        if let Some(slot) = map.slot(pool_key(pool)) {
            slot.waits.fetch_add(1, SeqCst);
        }
    });
}
