//! Which page of which pool is in memory, and where each pool has room. Pure: slices of atomics, no PostgreSQL.
//!
//! Many may look things up at once; whoever adds or evicts must be alone. Whose job that is says `shared.rs`.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize};

use crate::bitmap_page::Page;

/// Slots looked at before a pool is told that there is no room for it.
const PROBES: usize = 16;

/// One pool in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolKey {
    /// Object identifier of the database.
    pub database: u32,
    /// `nebula.pool.pool_id`.
    pub pool: i32,
}

impl PoolKey {
    /// Never 0: no database has the identifier 0.
    fn packed(self) -> u64 {
        u64::from(self.database) << 32 | u64::from(self.pool.cast_unsigned())
    }
}

/// One page: `number` counts pages from address zero, so that it does not move when a pool grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    /// The pool.
    pub pool: PoolKey,
    /// The address shifted right by [`crate::bitmap_page::PAGE_SHIFT`].
    pub number: u128,
}

impl PageKey {
    fn words(self) -> [u64; 3] {
        [self.pool.packed(), (self.number >> 64) as u64, self.number as u64]
    }

    fn hash(self) -> usize {
        self.words().iter().fold(0, |hash, word| mix(hash ^ word)) as usize
    }
}

/// Finaliser of SplitMix64: every bit of the input reaches every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// What is known of a pool. All zeroes: a free slot.
#[repr(C)]
#[derive(Default)]
pub struct PoolSlot {
    key: AtomicU64,
    /// Pages read at another generation are to be read again.
    pub generation: AtomicU64,
    /// Number of the first page of the pool, in two halves.
    base: [AtomicU64; 2],
    /// Pages below this one, counted from the first of the pool, are full.
    hint: AtomicU64,
    /// When a quarantine in a page below the hint ends, in PostgreSQL's microseconds.
    pub expires: AtomicI64,
    /// Goes up whenever an address of the pool may have become free.
    pub releases: AtomicU64,
    /// `changes` + 1 at the time when the table was seen to be full; 0: never.
    pub full_at: AtomicU64,
    /// Claims in flight.
    pub in_flight: AtomicI64,
    /// Addresses found by a look at the map.
    pub hits: AtomicU64,
    /// Claims that a row or another session had already.
    pub conflicts: AtomicU64,
    /// Pages read from the table.
    pub rebuilds: AtomicU64,
    /// Waits for a transaction in flight.
    pub waits: AtomicU64,
    /// Goes up whenever usage may have reached a threshold.
    pub usage_checks: AtomicU64,
}

impl PoolSlot {
    /// Whose slot it is; `None` for a free one.
    pub fn owner(&self) -> Option<PoolKey> {
        let key = self.key.load(SeqCst);
        (key != 0).then_some(PoolKey { database: (key >> 32) as u32, pool: (key as u32).cast_signed() })
    }

    /// The first page that may have room, counted from the first of the pool.
    pub fn hint(&self) -> u64 {
        self.hint.load(SeqCst)
    }

    /// Page `from` is full: look at the next one in future, unless `has_room` finds that it is not after all.
    pub fn advance(&self, from: u64, has_room: impl Fn() -> bool) {
        if self.hint.compare_exchange(from, from + 1, SeqCst, SeqCst).is_ok() && has_room() {
            // An address was given back between the look and the exchange, and lowered a hint that was not up yet.
            self.lower(from);
        }
    }

    /// Pages from the one with number `from` up to `to` hold nothing that could be given out.
    pub fn skip_to(&self, from: u128, to: u128) {
        let hint = |number: u128| u64::try_from(number - self.base()).unwrap_or(u64::MAX);
        // Somebody else moved it: they know better.
        let _moved = self.hint.compare_exchange(hint(from), hint(to), SeqCst, SeqCst);
    }

    fn lower(&self, page: u64) {
        self.releases.fetch_add(1, SeqCst);
        self.hint.fetch_min(page, SeqCst);
    }

    /// An address in the page with this number may have become free.
    pub fn mark_free(&self, number: u128) {
        self.lower(u64::try_from(number.saturating_sub(self.base())).unwrap_or(u64::MAX));
    }

    /// Number of the first page of the pool.
    pub fn base(&self) -> u128 {
        u128::from(self.base[0].load(SeqCst)) << 64 | u128::from(self.base[1].load(SeqCst))
    }

    /// Everything known is void: pages are read again as they are used.
    pub fn invalidate(&self, generation: u64) {
        self.generation.store(generation, SeqCst);
        self.expires.store(i64::MAX, SeqCst);
        self.lower(0);
    }

    /// Looks from the first page again when a quarantine has ended.
    pub fn rewind_if_expired(&self, now: i64) {
        let expires = self.expires.load(SeqCst);
        if now >= expires && self.expires.compare_exchange(expires, i64::MAX, SeqCst, SeqCst).is_ok() {
            self.lower(0);
        }
    }
}

/// Counters of the whole map. All zeroes is a valid beginning.
#[repr(C)]
#[derive(Default)]
pub struct Header {
    /// Last generation given to a pool.
    generation: AtomicU64,
    /// Where the clock stands.
    clock_hand: AtomicU32,
    /// Pages that have a key.
    used: AtomicU32,
    /// Pages taken away from their key.
    pub evictions: AtomicU64,
    /// Transactions that may end without telling: those of [`OrphanTransaction`].
    orphan_count: AtomicU32,
    /// Database that the background worker looks after; 0: it is not there.
    pub watcher_database: AtomicU32,
    /// Where its latch is.
    pub watcher_latch: AtomicUsize,
}

impl Header {
    /// The server has started anew: whoever looked after a database is gone.
    pub fn clear_watcher(&self) {
        self.watcher_database.store(0, SeqCst);
        self.watcher_latch.store(0, SeqCst);
    }
}

/// A transaction that nobody here will hear of when it ends: prepared, or of rows made by hand.
#[repr(C)]
#[derive(Default)]
pub struct OrphanTransaction {
    pool: AtomicU64,
    transaction: AtomicU32,
}

/// The map: views of one region of memory.
pub struct PageTable<'a> {
    /// Counters.
    pub header: &'a Header,
    /// Pools.
    pub slots: &'a [PoolSlot],
    /// Transactions to look after.
    pub orphans: &'a [OrphanTransaction],
    /// Heads of the chains, as index + 1 of a page; a power of two.
    pub buckets: &'a [AtomicU32],
    /// Pages.
    pub pages: &'a [Page],
}

impl PageTable<'_> {
    fn bucket(&self, key: PageKey) -> &AtomicU32 {
        &self.buckets[key.hash() & (self.buckets.len() - 1)]
    }

    fn probe(&self, key: PoolKey) -> impl Iterator<Item = &PoolSlot> {
        let start = mix(key.packed()) as usize;
        (0..PROBES.min(self.slots.len())).map(move |i| &self.slots[start.wrapping_add(i) % self.slots.len()])
    }

    /// The slot of a pool.
    pub fn slot(&self, key: PoolKey) -> Option<&PoolSlot> {
        self.probe(key).find(|slot| slot.key.load(SeqCst) == key.packed())
    }

    /// The slot of a pool, made if need be; `None` when every place for it has claims in flight. Needs to be alone.
    pub fn add_slot(&self, key: PoolKey, base: u128) -> Option<&PoolSlot> {
        let slot = self
            .slot(key)
            .or_else(|| self.probe(key).find(|slot| slot.owner().is_none()))
            .or_else(|| self.probe(key).find(|slot| slot.in_flight.load(SeqCst) == 0))?;
        if slot.owner() == Some(key) && slot.base() == base {
            return Some(slot);
        }
        slot.base[0].store((base >> 64) as u64, SeqCst);
        slot.base[1].store(base as u64, SeqCst);
        slot.key.store(key.packed(), SeqCst);
        for counter in [&slot.full_at, &slot.hits, &slot.conflicts, &slot.rebuilds, &slot.waits] {
            counter.store(0, SeqCst);
        }
        slot.hint.store(0, SeqCst);
        slot.invalidate(self.next_generation());
        Some(slot)
    }

    /// A generation that no pool has had.
    pub fn next_generation(&self) -> u64 {
        self.header.generation.fetch_add(1, SeqCst) + 1
    }

    /// Everything known of a pool is void, or of all pools of the database when `pool` is `None`.
    pub fn invalidate(&self, database: u32, pool: Option<i32>) {
        match pool {
            Some(pool) => {
                if let Some(slot) = self.slot(PoolKey { database, pool }) {
                    slot.invalidate(self.next_generation());
                }
            }
            None => self.slots_of(database).for_each(|(_, slot)| slot.invalidate(self.next_generation())),
        }
    }

    /// All pools of a database.
    pub fn slots_of(&self, database: u32) -> impl Iterator<Item = (i32, &PoolSlot)> {
        self.slots.iter().filter_map(move |slot| {
            slot.owner().filter(|key| key.database == database).map(|key| (key.pool, slot))
        })
    }

    /// The page with this key.
    pub fn find(&self, key: PageKey) -> Option<&Page> {
        let words = key.words();
        let mut index = self.bucket(key).load(SeqCst);
        while index != 0 {
            let page = &self.pages[index as usize - 1];
            if page.key.iter().zip(words).all(|(have, want)| have.load(SeqCst) == want) {
                if page.used.load(SeqCst) == 0 {
                    page.used.store(1, SeqCst);
                }
                return Some(page);
            }
            index = page.next.load(SeqCst);
        }
        None
    }

    /// The page with this key, made if need be; `None` when every page has claims in flight. Needs to be alone.
    pub fn add(&self, key: PageKey) -> Option<&Page> {
        if let Some(page) = self.find(key) {
            return Some(page);
        }
        let index = self.evict()?;
        let page = &self.pages[index];
        page.reset();
        for (have, want) in page.key.iter().zip(key.words()) {
            have.store(want, SeqCst);
        }
        page.used.store(1, SeqCst);
        let head = self.bucket(key);
        page.next.store(head.load(SeqCst), SeqCst);
        head.store(index as u32 + 1, SeqCst);
        Some(page)
    }

    /// A page without a key: a fresh one, or the first that was not used for a turn of the clock.
    fn evict(&self) -> Option<usize> {
        let used = self.header.used.load(SeqCst) as usize;
        if used < self.pages.len() {
            self.header.used.store(used as u32 + 1, SeqCst);
            return Some(used);
        }
        for _ in 0..2 * self.pages.len() {
            let index = self.header.clock_hand.fetch_add(1, SeqCst) as usize % self.pages.len();
            let page = &self.pages[index];
            // Forgetting a claim would send others after an address that is about to be held.
            if page.claims() == 0 && page.used.swap(0, SeqCst) == 0 {
                self.unlink(index);
                self.header.evictions.fetch_add(1, SeqCst);
                return Some(index);
            }
        }
        None
    }

    fn unlink(&self, index: usize) {
        let page = &self.pages[index];
        let key = self.key_of(page);
        let mut link = self.bucket(key);
        while link.load(SeqCst) as usize != index + 1 {
            link = &self.pages[link.load(SeqCst) as usize - 1].next;
        }
        link.store(page.next.load(SeqCst), SeqCst);
    }

    fn key_of(&self, page: &Page) -> PageKey {
        let [pool, high, low] = [0, 1, 2].map(|i: usize| page.key[i].load(SeqCst));
        PageKey {
            pool: PoolKey { database: (pool >> 32) as u32, pool: (pool as u32).cast_signed() },
            number: u128::from(high) << 64 | u128::from(low),
        }
    }

    /// Keys of all pages in memory.
    pub fn keys(&self) -> impl Iterator<Item = PageKey> {
        self.pages[..self.header.used.load(SeqCst) as usize].iter().map(|page| self.key_of(page))
    }

    /// Looks after a transaction until it is over: then what it did to the pool is read anew. Without room nothing is
    /// recorded; what it gives back is then found when the pool seems full. Needs to be alone.
    pub fn track_orphan(&self, pool: PoolKey, transaction: u32) {
        let same = |f: &&OrphanTransaction| {
            f.pool.load(SeqCst) == pool.packed() && f.transaction.load(SeqCst) == transaction
        };
        if self.orphans.iter().any(|f| same(&f)) {
            return;
        }
        if let Some(free) = self.orphans.iter().find(|f| f.transaction.load(SeqCst) == 0) {
            free.pool.store(pool.packed(), SeqCst);
            free.transaction.store(transaction, SeqCst);
            self.header.orphan_count.fetch_add(1, SeqCst);
        }
    }

    /// Whether any transaction is looked after: the question every allocation asks.
    pub fn has_orphans(&self) -> bool {
        self.header.orphan_count.load(SeqCst) != 0
    }

    /// The transactions looked after for a pool.
    pub fn orphans_of(&self, pool: PoolKey) -> Vec<u32> {
        let of_pool = self.orphans.iter().filter(|f| f.pool.load(SeqCst) == pool.packed());
        of_pool.map(|f| f.transaction.load(SeqCst)).filter(|transaction| *transaction != 0).collect()
    }

    /// A transaction is over. Needs to be alone.
    pub fn end_orphan(&self, pool: PoolKey, transaction: u32) {
        for orphan in self.orphans {
            if orphan.pool.load(SeqCst) == pool.packed() && orphan.transaction.load(SeqCst) == transaction {
                orphan.transaction.store(0, SeqCst);
                orphan.pool.store(0, SeqCst);
                self.header.orphan_count.fetch_sub(1, SeqCst);
                self.invalidate(pool.database, Some(pool.pool));
            }
        }
    }
}

#[cfg(test)]
mod tests;
