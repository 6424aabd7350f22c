//! One pool in shared memory: the start of its search, the time when that start expires, and counters.
//!
//! The hint is the first page that may have an address for a search. It must never stay above a page that has
//! room, or the addresses there are not found before the pool seems full. Each change below is therefore made
//! in an order that lowers the hint when a search and a release race. Model tests check that
//! (`pool_slot/model.rs`).

use std::sync::atomic::Ordering::SeqCst;

use crate::bitmap_page::{PAGE_SHIFT, Page};
use crate::sync::{AtomicI64, AtomicU64};

/// A pool of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolKey {
    /// Object identifier of the database.
    pub database: u32,
    /// `nebula.pool.pool_id`.
    pub pool: i32,
}

impl PoolKey {
    /// Never 0, because no database has the identifier 0.
    pub(crate) fn packed(self) -> u64 {
        u64::from(self.database) << 32 | u64::from(self.pool.cast_unsigned())
    }

    pub(crate) fn unpacked(key: u64) -> Self {
        Self { database: (key >> 32) as u32, pool: (key as u32).cast_signed() }
    }
}

/// A pool in shared memory. All zeroes is a free slot.
#[repr(C)]
#[derive(Default)]
pub struct PoolSlot {
    key: AtomicU64,
    /// Pages loaded for another generation are out of date.
    pub generation: AtomicU64,
    /// Number of the pool's first page, in two halves.
    base: [AtomicU64; 2],
    /// Pages below this one, counted from the pool's first, have no room.
    hint: AtomicU64,
    /// Earliest end of a quarantine in a page below the hint, in PostgreSQL's microseconds.
    pub expires: AtomicI64,
    /// Counts events by which an address of the pool may have become free.
    pub releases: AtomicU64,
    /// `releases` + 1 when the table was last found to be full; 0: never.
    pub full_at: AtomicU64,
    /// Claims in flight.
    pub in_flight: AtomicI64,
    /// Addresses found in the map.
    pub hits: AtomicU64,
    /// Claims of addresses that already had a row.
    pub conflicts: AtomicU64,
    /// Pages loaded from the table.
    pub rebuilds: AtomicU64,
    /// Waits for a transaction in flight.
    pub waits: AtomicU64,
    /// Counts commits that may have brought usage to a threshold.
    pub usage_checks: AtomicU64,
    /// Searches skip the addresses before this one, counted from the first of the pool's first page; 0: none.
    floor: AtomicU64,
    /// Until then, in PostgreSQL's microseconds.
    floor_until: AtomicI64,
}

impl PoolSlot {
    /// The pool of this slot; `None` for a free slot.
    pub fn owner(&self) -> Option<PoolKey> {
        let key = self.key.load(SeqCst);
        (key != 0).then(|| PoolKey::unpacked(key))
    }

    pub(crate) fn belongs_to(&self, key: PoolKey) -> bool {
        self.key.load(SeqCst) == key.packed()
    }

    /// Gives the slot to a pool that begins at page `base`. Needs the exclusive lock.
    pub(crate) fn assign(&self, key: PoolKey, base: u128, generation: u64) {
        self.base[0].store((base >> 64) as u64, SeqCst);
        self.base[1].store(base as u64, SeqCst);
        self.key.store(key.packed(), SeqCst);
        for counter in [&self.full_at, &self.hits, &self.conflicts, &self.rebuilds, &self.waits] {
            counter.store(0, SeqCst);
        }
        self.hint.store(0, SeqCst);
        self.floor.store(0, SeqCst);
        self.invalidate(generation);
    }

    /// Has searches skip the address with this number and all before it until a time: it is free, but to
    /// insert its row is slow. They still find it when no other address seems free.
    pub fn skip_up_to(&self, number: u128, until: i64) {
        let after = (number + 1).saturating_sub(self.base() << PAGE_SHIFT);
        self.floor_until.store(until, SeqCst);
        self.floor.fetch_max(u64::try_from(after).unwrap_or(u64::MAX), SeqCst);
    }

    /// The number of the first address that searches do not skip; `None`: they skip none.
    pub fn floor(&self, now: i64) -> Option<u128> {
        let floor = self.floor.load(SeqCst);
        if floor != 0 && now >= self.floor_until.load(SeqCst) {
            self.end_skip();
            return None;
        }
        (floor != 0).then(|| (self.base() << PAGE_SHIFT) + u128::from(floor))
    }

    /// Searches skip no address any more; whether they did.
    pub fn end_skip(&self) -> bool {
        self.floor.swap(0, SeqCst) != 0
    }

    /// Number of the pool's first page.
    pub fn base(&self) -> u128 {
        u128::from(self.base[0].load(SeqCst)) << 64 | u128::from(self.base[1].load(SeqCst))
    }

    /// The page where a search begins, counted from the pool's first.
    pub fn hint(&self) -> u64 {
        self.hint.load(SeqCst)
    }

    /// Moves the hint past page `from`, in which a search found nothing.
    pub fn advance(&self, from: u64, page: &Page) {
        if self.hint.compare_exchange(from, from + 1, SeqCst, SeqCst).is_err() {
            return;
        }
        // Only after the exchange: a release, a rewind or an invalidation before it lowered a hint that was
        // not up yet.
        self.expires.fetch_min(page.expires(), SeqCst);
        if page.has_room() || !page.is_loaded_for(self.generation.load(SeqCst)) {
            self.hint.fetch_min(from, SeqCst);
        }
    }

    /// Moves the hint from one page to a later one, by page number. The pages in between are wholly reserved.
    pub fn skip_to(&self, from: u128, to: u128) {
        let hint = |number: u128| u64::try_from(number - self.base()).unwrap_or(u64::MAX);
        // If another session has moved the hint since, its knowledge is newer.
        let _ = self.hint.compare_exchange(hint(from), hint(to), SeqCst, SeqCst);
        // A search that skips addresses begins behind them, not at the hint.
        let _ = self.floor.fetch_update(SeqCst, SeqCst, |floor| {
            let begins_here = floor != 0 && floor >> PAGE_SHIFT <= hint(from);
            begins_here.then(|| floor.max(hint(to).saturating_mul(1 << PAGE_SHIFT)))
        });
    }

    /// An address in the page with this number may have become free.
    pub fn mark_free(&self, number: u128) {
        self.count_release();
        self.lower_hint(number);
    }

    /// An address is about to be marked as free. Counted before its bit is cleared: see
    /// [`crate::map_changes::hold_found_row`].
    pub fn count_release(&self) {
        self.releases.fetch_add(1, SeqCst);
    }

    /// Makes the next search begin no later than at the page with this number: its bits were loaded anew, and
    /// a search that saw the old ones may have moved on meanwhile.
    pub fn lower_hint(&self, number: u128) {
        let page = u64::try_from(number.saturating_sub(self.base())).unwrap_or(u64::MAX);
        self.hint.fetch_min(page, SeqCst);
    }

    /// Makes all pages of the pool out of date: they are loaded again when they are next used.
    pub fn invalidate(&self, generation: u64) {
        self.generation.store(generation, SeqCst);
        self.expires.store(i64::MAX, SeqCst);
        self.mark_free(self.base());
    }

    /// Makes the next search begin at the pool's first page if a quarantine below the hint has ended.
    pub fn rewind_if_expired(&self, now: i64) {
        let expires = self.expires.load(SeqCst);
        if now >= expires && self.expires.compare_exchange(expires, i64::MAX, SeqCst, SeqCst).is_ok() {
            self.mark_free(self.base());
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod model;
#[cfg(all(test, not(feature = "loom")))]
mod tests;
