//! The search for the lowest free address of a pool.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::SeqCst;

use nebula_core::bitmap_page::{PAGE_SHIFT, Page};
use nebula_core::page_table::{PageKey, PageTable, PoolKey, PoolSlot};
use nebula_core::pending_addresses::ChangeKind;

use super::claim::{end_refused, hold_reserved, release_number};
use super::cursor::Cursor;
use super::keys::{page_and_bit, pool_key};
use super::pending::{record, with_pending};
use super::{load, shared};
use crate::pg::error::Result;
use crate::pg::session::statement_start;
use crate::pools::pool::Pool;

/// The bits of an address within its page.
const PAGE_MASK: u128 = (1 << PAGE_SHIFT) - 1;

/// Consecutive conflicts after which a page is read from the table again. So many conflicts mean that rows
/// were inserted by hand, which the map does not learn of.
const MAX_CONFLICTS: u32 = 8;

/// A search through one pool, from its lowest address upwards.
pub(crate) struct AddressSearch<'a> {
    pool: &'a Pool,
    /// Searches the table; only without shared memory.
    cursor: Option<Cursor>,
    /// The address that was claimed last.
    last: Option<u128>,
    /// Consecutive claims for which a row existed.
    conflicts: u32,
}

/// Result of one pass over the shared map.
enum MapLookup {
    Claimed(u128),
    /// The page with this number must be read from the table first.
    PageMissing(u128),
    /// The pool has no slot in the map yet.
    PoolMissing,
    /// No address is free.
    Full,
}

impl<'a> AddressSearch<'a> {
    pub(crate) fn new(pool: &'a Pool) -> Self {
        let cursor = if shared::is_present() { None } else { Some(Cursor::new(pool)) };
        Self { pool, cursor, last: None, conflicts: 0 }
    }

    /// Claims the lowest address that seems free. The caller tries to insert it, then calls
    /// [`report_conflict`](Self::report_conflict) or [`release`](Self::release) unless that worked.
    ///
    /// `None`: no address seems free; only the table can tell whether the pool is exhausted.
    pub(crate) fn claim_next(&mut self) -> Result<Option<IpAddr>> {
        self.last = match &mut self.cursor {
            Some(cursor) => {
                let found = cursor.lock_next(self.pool)?;
                if let Some(number) = found {
                    record(self.pool.id, number, ChangeKind::Claimed);
                }
                found
            }
            None => claim_lowest(self.pool)?,
        };
        Ok(self.last.map(|number| self.pool.network.family().address(number)))
    }

    /// The insert of the address that was claimed last was refused: another row was in the way.
    pub(crate) fn report_conflict(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.discard_range();
        }
        let Some(last) = self.last.take() else { return Ok(()) };
        if end_refused(self.pool, last)? {
            self.conflicts += 1;
        }
        if self.conflicts >= MAX_CONFLICTS {
            let (page, _) = page_and_bit(pool_key(self.pool), last);
            shared::read(|map| map.find(page).map(Page::invalidate));
            self.conflicts = 0;
        }
        Ok(())
    }

    /// Gives up the claim on the address that was claimed last.
    pub(crate) fn release(&mut self) {
        if let Some(last) = self.last.take() {
            release_number(self.pool, last);
        }
    }
}

/// Claims the lowest free address in shared memory.
fn claim_lowest(pool: &Pool) -> Result<Option<u128>> {
    let range = pool.network.assignable();
    let found = claim_in_map(pool, &range)?;
    // An address that this transaction released is free for itself; for other sessions it is held until the
    // commit.
    let own = lowest_own(pool, &range);
    if let Some(own) = own.filter(|own| found.is_none_or(|found| *own < found)) {
        if let Some(found) = found {
            release_number(pool, found);
        }
        record(pool.id, own, ChangeKind::Inserted);
        return Ok(Some(own));
    }
    Ok(found)
}

/// Claims the lowest address that is neither held nor claimed, reading pages from the table as needed.
fn claim_in_map(pool: &Pool, range: &RangeInclusive<u128>) -> Result<Option<u128>> {
    let (first, last) = (range.start() >> PAGE_SHIFT, range.end() >> PAGE_SHIFT);
    let key = pool_key(pool);
    load::end_orphans(key);
    loop {
        match shared::read(|map| look_up(map, key, first, last)) {
            Some(MapLookup::Claimed(number)) => {
                record(pool.id, number, ChangeKind::Claimed);
                if pool.is_assignable(pool.network.family().address(number)) {
                    return Ok(Some(number));
                }
                // A reserved address: its row was deleted, which cleared the bit in the map.
                hold_reserved(pool, number);
            }
            Some(MapLookup::PageMissing(page)) => match pool.assignable_from(page << PAGE_SHIFT) {
                // All addresses from this page up to that one are reserved: no need to read those pages.
                Some(next) if next >> PAGE_SHIFT != page => {
                    shared::read(|map| map.slot(key).map(|slot| slot.skip_to(page, next >> PAGE_SHIFT)));
                }
                Some(_) if load::load(pool, key, page)? => {}
                // Nothing is left from here on, or memory has no room for the page; what was skipped is left.
                _ if shared::read(|map| map.slot(key).is_some_and(PoolSlot::end_skip)) == Some(true) => {}
                _ => return Ok(None),
            },
            Some(MapLookup::PoolMissing)
                if shared::write(|map| map.add_slot(key, first).is_some()) == Some(true) => {}
            // The pool is full, or memory has no room for a page: in both cases the caller asks the table.
            _ => return Ok(None),
        }
    }
}

/// The lowest address that this transaction released and that the pool may assign.
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

/// Claims the lowest address of a range that seems free.
fn claim_from(map: &PageTable<'_>, pool: PoolKey, slot: &PoolSlot, range: RangeInclusive<u128>) -> MapLookup {
    let mut from = *range.start();
    while range.contains(&from) {
        let number = from >> PAGE_SHIFT;
        let page = map.find(PageKey { pool, number });
        let Some(page) = page.filter(|page| page.is_current(slot.generation.load(SeqCst), statement_start()))
        else {
            return MapLookup::PageMissing(number);
        };
        if let Some(bit) = page.claim_lowest_from((from & PAGE_MASK) as u16) {
            slot.in_flight.fetch_add(1, SeqCst);
            slot.hits.fetch_add(1, SeqCst);
            return MapLookup::Claimed(from & !PAGE_MASK | u128::from(bit));
        }
        let Some(next) = (from | PAGE_MASK).checked_add(1) else { break };
        from = next;
    }
    MapLookup::Full
}

fn look_up(map: &PageTable<'_>, pool: PoolKey, first: u128, last: u128) -> MapLookup {
    let Some(slot) = map.slot(pool).filter(|slot| slot.base() == first) else {
        return MapLookup::PoolMissing;
    };
    let now = statement_start();
    slot.rewind_if_expired(now);
    if let Some(floor) = slot.floor(now) {
        match claim_from(map, pool, slot, floor..=last << PAGE_SHIFT | PAGE_MASK) {
            MapLookup::Full => _ = slot.end_skip(),
            found => return found,
        }
    }
    loop {
        let hint = slot.hint();
        let number = first + u128::from(hint);
        if number > last {
            return MapLookup::Full;
        }
        let page = map.find(PageKey { pool, number });
        let Some(page) = page.filter(|page| page.is_current(slot.generation.load(SeqCst), now)) else {
            return MapLookup::PageMissing(number);
        };
        if let Some(bit) = page.claim_lowest() {
            slot.in_flight.fetch_add(1, SeqCst);
            slot.hits.fetch_add(1, SeqCst);
            return MapLookup::Claimed((number << PAGE_SHIFT) | u128::from(bit));
        }
        slot.advance(hint, page);
    }
}
