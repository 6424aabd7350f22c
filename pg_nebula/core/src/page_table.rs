//! The free map: which page of which pool is in memory, and where each pool has room.
//!
//! The map is a view of one region of shared memory: slices of atomics. Look-ups share a lock; functions that
//! add, evict or track need it exclusively, and say so. The caller takes the lock.

use std::sync::atomic::Ordering::SeqCst;

use crate::bitmap_page::Page;
pub use crate::pool_slot::{PoolKey, PoolSlot};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize};

/// Slots in which a pool may be. Bounds the look-up of a pool that is not there.
const MAX_PROBES: usize = 16;

/// Key of a page. `number` counts pages from address zero, so that it stays the same when a pool grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    /// The pool.
    pub pool: PoolKey,
    /// The address shifted right by [`crate::bitmap_page::PAGE_SHIFT`].
    pub number: u128,
}

impl PageKey {
    fn as_words(self) -> [u64; 3] {
        [self.pool.packed(), (self.number >> 64) as u64, self.number as u64]
    }

    fn hash(self) -> usize {
        self.as_words().iter().fold(0, |hash, word| mix(hash ^ word)) as usize
    }
}

/// Finaliser of SplitMix64: every bit of the input reaches every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Counters of the whole map. All zeroes is a valid start.
#[repr(C)]
#[derive(Default)]
pub struct Header {
    /// Last generation given to a pool.
    generation: AtomicU64,
    /// Position of the clock hand, which searches for a page to evict.
    clock_hand: AtomicU32,
    /// Pages that have a key.
    used: AtomicU32,
    /// Number of evictions.
    pub evictions: AtomicU64,
    /// Number of orphan transactions.
    orphan_count: AtomicU32,
    /// Database of the background worker that watches usage; 0: none runs.
    pub watcher_database: AtomicU32,
    /// Address of that worker's latch.
    pub watcher_latch: AtomicUsize,
}

impl Header {
    /// Forgets the background worker: it ended with the previous run of the server.
    pub fn clear_watcher(&self) {
        self.watcher_database.store(0, SeqCst);
        self.watcher_latch.store(0, SeqCst);
    }
}

/// A transaction whose end no session of ours will apply to the map: a prepared one, or one that wrote rows
/// without our functions. It is tracked until it is over; then its pool is loaded again.
#[repr(C)]
#[derive(Default)]
pub struct OrphanTransaction {
    pool: AtomicU64,
    transaction: AtomicU32,
}

/// The free map in shared memory.
pub struct PageTable<'a> {
    /// Counters.
    pub header: &'a Header,
    /// Pools, in an open-addressed hash table.
    pub slots: &'a [PoolSlot],
    /// Transactions to track.
    pub orphans: &'a [OrphanTransaction],
    /// Heads of the hash chains of pages, as index + 1 of a page. Their number is a power of two.
    pub buckets: &'a [AtomicU32],
    /// Pages.
    pub pages: &'a [Page],
}

impl PageTable<'_> {
    fn probe(&self, key: PoolKey) -> impl Iterator<Item = &PoolSlot> {
        let start = mix(key.packed()) as usize;
        let count = self.slots.len();
        (0..MAX_PROBES.min(count)).map(move |step| &self.slots[start.wrapping_add(step) % count])
    }

    /// The slot of a pool.
    pub fn slot(&self, key: PoolKey) -> Option<&PoolSlot> {
        self.probe(key).find(|slot| slot.belongs_to(key))
    }

    /// The slot of a pool that begins at page `base`, added if need be. `None`: every slot it could have
    /// belongs to a pool with claims in flight. Needs the exclusive lock.
    pub fn add_slot(&self, key: PoolKey, base: u128) -> Option<&PoolSlot> {
        let slot = self
            .slot(key)
            .or_else(|| self.probe(key).find(|slot| slot.owner().is_none()))
            .or_else(|| self.probe(key).find(|slot| slot.in_flight.load(SeqCst) == 0))?;
        if !slot.belongs_to(key) || slot.base() != base {
            slot.assign(key, base, self.next_generation());
        }
        Some(slot)
    }

    /// A generation that no pool has had.
    pub fn next_generation(&self) -> u64 {
        self.header.generation.fetch_add(1, SeqCst) + 1
    }

    /// Makes the pages of a pool out of date, or with `None` those of all pools of the database.
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

    fn bucket(&self, key: PageKey) -> &AtomicU32 {
        &self.buckets[key.hash() & (self.buckets.len() - 1)]
    }

    /// The page with this key.
    pub fn find(&self, key: PageKey) -> Option<&Page> {
        let words = key.as_words();
        let mut index = self.bucket(key).load(SeqCst);
        while index != 0 {
            let page = &self.pages[index as usize - 1];
            if page.key.iter().zip(words).all(|(have, want)| have.load(SeqCst) == want) {
                // Written only when it changes: sessions that read the same page share its cache line.
                if page.referenced.load(SeqCst) == 0 {
                    page.referenced.store(1, SeqCst);
                }
                return Some(page);
            }
            index = page.next.load(SeqCst);
        }
        None
    }

    /// The page with this key, added if need be. `None`: every page has claims in flight. Needs the exclusive
    /// lock.
    pub fn add(&self, key: PageKey) -> Option<&Page> {
        if let Some(page) = self.find(key) {
            return Some(page);
        }
        let index = self.evict()?;
        let page = &self.pages[index];
        page.reset();
        for (have, want) in page.key.iter().zip(key.as_words()) {
            have.store(want, SeqCst);
        }
        page.referenced.store(1, SeqCst);
        let head = self.bucket(key);
        page.next.store(head.load(SeqCst), SeqCst);
        head.store(index as u32 + 1, SeqCst);
        Some(page)
    }

    /// Index of a page without a key: one never used, or the first that was not looked up for a turn of the
    /// clock hand.
    fn evict(&self) -> Option<usize> {
        let used = self.header.used.load(SeqCst) as usize;
        if used < self.pages.len() {
            self.header.used.store(used as u32 + 1, SeqCst);
            return Some(used);
        }
        for _ in 0..2 * self.pages.len() {
            let index = self.header.clock_hand.fetch_add(1, SeqCst) as usize % self.pages.len();
            let page = &self.pages[index];
            // A page with claims stays: without them other sessions would try addresses that are about to be
            // held.
            if page.claims() == 0 && page.referenced.swap(0, SeqCst) == 0 {
                self.unlink(index);
                self.header.evictions.fetch_add(1, SeqCst);
                return Some(index);
            }
        }
        None
    }

    fn unlink(&self, index: usize) {
        let page = &self.pages[index];
        let mut link = self.bucket(Self::key_of(page));
        while link.load(SeqCst) as usize != index + 1 {
            link = &self.pages[link.load(SeqCst) as usize - 1].next;
        }
        link.store(page.next.load(SeqCst), SeqCst);
    }

    fn key_of(page: &Page) -> PageKey {
        let [pool, high, low] = [0, 1, 2].map(|i: usize| page.key[i].load(SeqCst));
        PageKey { pool: PoolKey::unpacked(pool), number: u128::from(high) << 64 | u128::from(low) }
    }

    /// Keys of all pages in memory.
    pub fn keys(&self) -> impl Iterator<Item = PageKey> {
        self.pages[..self.header.used.load(SeqCst) as usize].iter().map(Self::key_of)
    }

    /// Tracks a transaction until it is over. If there is no room, nothing is recorded: addresses that it
    /// gives back are then found when the pool seems full. Needs the exclusive lock.
    pub fn track_orphan(&self, pool: PoolKey, transaction: u32) {
        if self.orphans.iter().any(|orphan| orphan.is(pool, transaction)) {
            return;
        }
        if let Some(free) = self.orphans.iter().find(|orphan| orphan.transaction.load(SeqCst) == 0) {
            free.pool.store(pool.packed(), SeqCst);
            free.transaction.store(transaction, SeqCst);
            self.header.orphan_count.fetch_add(1, SeqCst);
        }
    }

    /// Whether any transaction is tracked. Cheap, because every allocation asks.
    pub fn has_orphans(&self) -> bool {
        self.header.orphan_count.load(SeqCst) != 0
    }

    /// The transactions tracked for a pool.
    pub fn orphans_of(&self, pool: PoolKey) -> Vec<u32> {
        let of_pool = self.orphans.iter().filter(|orphan| orphan.pool.load(SeqCst) == pool.packed());
        of_pool
            .map(|orphan| orphan.transaction.load(SeqCst))
            .filter(|transaction| *transaction != 0)
            .collect()
    }

    /// Stops tracking a transaction that is over, and makes the pool's pages out of date. Needs the exclusive
    /// lock.
    pub fn end_orphan(&self, pool: PoolKey, transaction: u32) {
        for orphan in self.orphans.iter().filter(|orphan| orphan.is(pool, transaction)) {
            orphan.transaction.store(0, SeqCst);
            orphan.pool.store(0, SeqCst);
            self.header.orphan_count.fetch_sub(1, SeqCst);
            self.invalidate(pool.database, Some(pool.pool));
        }
    }
}

impl OrphanTransaction {
    fn is(&self, pool: PoolKey, transaction: u32) -> bool {
        self.pool.load(SeqCst) == pool.packed() && self.transaction.load(SeqCst) == transaction
    }
}

#[cfg(test)]
pub(crate) mod memory;
#[cfg(all(test, not(feature = "loom")))]
mod tests;
