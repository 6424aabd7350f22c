//! One page of the free map: two bits for each of 32 768 consecutive addresses.
//!
//! *Held*: a row holds the address, or it is reserved. *Claimed*: a transaction in flight is about to insert
//! a row. Both bits are hints, because the primary key decides; but the two errors differ in price. A bit
//! that is wrongly clear costs one insert that conflicts. A bit that is wrongly set hides a free address
//! until the page is loaded again, which may be never. So where two changes race, the order of the accesses
//! below leaves the bit clear.
//!
//! All fields are atomics and all zeroes is a valid empty page: shared memory needs no constructor, and
//! readers need no lock. Model tests check the orders (`bitmap_page/model.rs`).

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;

use crate::sync::{AtomicI64, AtomicU32, AtomicU64};

/// Base-2 logarithm of the number of addresses in a page. Model tests use small pages.
pub const PAGE_SHIFT: u32 = if cfg!(feature = "loom") { 6 } else { 15 };
/// 64-bit words of one bitmap.
pub const BITMAP_WORDS: usize = 1 << (PAGE_SHIFT - 6);
/// Words of a bitmap that one word of the summary stands for.
const GROUP_WORDS: usize = if BITMAP_WORDS < 64 { BITMAP_WORDS } else { 64 };
/// Words of the summary.
const SUMMARY_WORDS: usize = BITMAP_WORDS / GROUP_WORDS;

/// One bit for each address of a page.
pub type Bitmap = [u64; BITMAP_WORDS];

/// A page in shared memory.
#[repr(C)]
pub struct Page {
    /// Next page in the same bucket of the page table, as index + 1; 0 ends the chain.
    pub next: AtomicU32,
    /// Set by each look-up, cleared by the clock hand when it searches for a page to evict.
    pub referenced: AtomicU32,
    /// Key: database and pool, then the two halves of the page number.
    pub key: [AtomicU64; 3],
    /// Generation of the pool for which the held bits were loaded; 0: not loaded.
    generation: AtomicU64,
    /// Earliest end of a quarantine in this page, in PostgreSQL's microseconds. From then on the page is out
    /// of date.
    expires: AtomicI64,
    /// Number of claimed bits.
    claims: AtomicU32,
    /// Summary: words in which a bit was cleared since the current load began.
    cleared: [AtomicU64; SUMMARY_WORDS],
    /// Summary: words in which every address is held or claimed.
    full: [AtomicU64; SUMMARY_WORDS],
    held: [AtomicU64; BITMAP_WORDS],
    claimed: [AtomicU64; BITMAP_WORDS],
}

/// Word of a bitmap, and mask of the bit within it.
fn word_and_mask(bit: u16) -> (usize, u64) {
    (usize::from(bit >> 6), 1 << (bit & 63))
}

/// Word of a summary, and mask of the bit within it.
fn summary(word: usize) -> (usize, u64) {
    let group = word / GROUP_WORDS;
    (group, 1 << (word - group * GROUP_WORDS))
}

impl Page {
    /// Whether the held bits were loaded for `generation`.
    pub fn is_loaded_for(&self, generation: u64) -> bool {
        self.generation.load(SeqCst) == generation
    }

    /// Whether the held bits were loaded for `generation` and no quarantine has ended since.
    pub fn is_current(&self, generation: u64, now: i64) -> bool {
        self.is_loaded_for(generation) && now < self.expires()
    }

    /// Claims the lowest address that is neither held nor claimed.
    pub fn claim_lowest(&self) -> Option<u16> {
        for (group, full) in self.full.iter().enumerate() {
            loop {
                let inside = full.load(SeqCst).trailing_ones() as usize;
                if inside == GROUP_WORDS {
                    break;
                }
                if let Some(bit) = self.claim_in_word(group * GROUP_WORDS + inside, 0) {
                    return Some(bit);
                }
            }
        }
        None
    }

    /// The same, from an address on.
    pub fn claim_lowest_from(&self, first: u16) -> Option<u16> {
        let (start, mask) = word_and_mask(first);
        let skipped = |word| if word == start { mask - 1 } else { 0 };
        (start..BITMAP_WORDS).find_map(|word| self.claim_in_word(word, skipped(word)))
    }

    /// Claims the lowest free address of a word, but for those skipped. `None`: there is none; without
    /// skipped addresses the summary says so.
    fn claim_in_word(&self, word: usize, skipped: u64) -> Option<u16> {
        loop {
            let taken = self.taken(word) | skipped;
            if taken == u64::MAX && skipped != 0 {
                return None;
            }
            if taken == u64::MAX {
                let (group, mask) = summary(word);
                self.full[group].fetch_or(mask, SeqCst);
                // A bit that was cleared before the summary was set must not stay hidden behind the summary.
                if self.taken(word) == u64::MAX {
                    return None;
                }
                self.full[group].fetch_and(!mask, SeqCst);
                continue;
            }
            let bit = (word * 64) as u16 + taken.trailing_ones() as u16;
            if self.claim(bit) {
                // Another transaction may have claimed it and committed since `taken` was read.
                if self.held[word].load(SeqCst) & word_and_mask(bit).1 == 0 {
                    return Some(bit);
                }
                self.unclaim(bit);
            }
        }
    }

    /// Addresses of a word that are held or claimed. Claimed is read first, because held is set before
    /// claimed is cleared: in the other order an address could seem free in between.
    fn taken(&self, word: usize) -> u64 {
        self.claimed[word].load(SeqCst) | self.held[word].load(SeqCst)
    }

    /// Claims one address, held or not; `false` when another transaction has claimed it.
    pub fn claim(&self, bit: u16) -> bool {
        let (word, mask) = word_and_mask(bit);
        let won = self.claimed[word].fetch_or(mask, SeqCst) & mask == 0;
        if won {
            self.claims.fetch_add(1, SeqCst);
        }
        won
    }

    /// Ends a claim, if there is one, without a row.
    pub fn unclaim(&self, bit: u16) {
        let (word, mask) = word_and_mask(bit);
        // A load may have read the row of this claim before its transaction was rolled back: see
        // `clear_held`.
        self.note_cleared(word);
        self.end_claim(word, mask);
        self.clear_full(word);
    }

    /// A row is about to hold the address. A claim on it stays until [`settle`](Self::settle).
    pub fn publish(&self, bit: u16) {
        let (word, mask) = word_and_mask(bit);
        self.held[word].fetch_or(mask, SeqCst);
    }

    /// Ends the claim of a transaction that has committed. Returns whether the address is free: its row, if
    /// there was one, has been deleted since.
    pub fn settle(&self, bit: u16) -> bool {
        let (word, mask) = word_and_mask(bit);
        self.end_claim(word, mask);
        let is_free = self.held[word].load(SeqCst) & mask == 0;
        if is_free {
            // A search may have called the word full because of the claim, after the held bit was cleared.
            self.clear_full(word);
        }
        is_free
    }

    /// A row holds the address from now on; this ends a claim on it.
    pub fn set_held(&self, bit: u16) {
        self.publish(bit);
        let (word, mask) = word_and_mask(bit);
        self.end_claim(word, mask);
    }

    /// No row holds the address any more. A claim on it stays: another transaction made it since.
    pub fn clear_held(&self, bit: u16) {
        let (word, mask) = word_and_mask(bit);
        // Noted first: a load that misses the note has stored its word before the bit is cleared here.
        self.note_cleared(word);
        self.held[word].fetch_and(!mask, SeqCst);
        self.clear_full(word);
    }

    fn end_claim(&self, word: usize, mask: u64) {
        if self.claimed[word].fetch_and(!mask, SeqCst) & mask != 0 {
            self.claims.fetch_sub(1, SeqCst);
        }
    }

    fn note_cleared(&self, word: usize) {
        let (group, mask) = summary(word);
        self.cleared[group].fetch_or(mask, SeqCst);
    }

    fn clear_full(&self, word: usize) {
        let (group, mask) = summary(word);
        self.full[group].fetch_and(!mask, SeqCst);
    }

    /// Whether an address is neither held nor claimed. Reads the bitmaps: the summary may for a moment call a
    /// word full that is not, while a search that set it looks again.
    pub fn has_room(&self) -> bool {
        (0..BITMAP_WORDS).any(|word| self.taken(word) != u64::MAX)
    }

    /// Number of claims in flight.
    pub fn claims(&self) -> u32 {
        self.claims.load(SeqCst)
    }

    /// Whether the address is claimed.
    pub fn is_claimed(&self, bit: u16) -> bool {
        let (word, mask) = word_and_mask(bit);
        self.claimed[word].load(SeqCst) & mask != 0
    }

    /// The held and the claimed bits. Each word is read at another moment.
    pub fn bits(&self) -> (Bitmap, Bitmap) {
        let read = |words: &[AtomicU64; BITMAP_WORDS]| std::array::from_fn(|word| words[word].load(SeqCst));
        (read(&self.held), read(&self.claimed))
    }

    /// Records that a quarantine in this page ends at `when`.
    pub fn expire_at(&self, when: i64) {
        self.expires.fetch_min(when, SeqCst);
    }

    /// Earliest end of a quarantine in this page; `i64::MAX` for none.
    pub fn expires(&self) -> i64 {
        self.expires.load(SeqCst)
    }

    /// Makes the next user load the held bits again.
    pub fn invalidate(&self) {
        self.generation.store(0, SeqCst);
    }

    /// Starts to record where bits are cleared. Call it before the table is read.
    pub fn begin_load(&self) {
        for cleared in &self.cleared {
            cleared.store(0, SeqCst);
        }
        self.expires.store(i64::MAX, SeqCst);
    }

    /// Stores held bits as read from the table, for the words in `range`. Returns the range of words in which
    /// bits were cleared since the load began: what was read there may be out of date, so read and store
    /// those again.
    ///
    /// The held bit of a claimed address is never set here, because its transaction does that before it
    /// commits. It stays set if a row was read: that transaction may be committing, and clears the bit if it
    /// fails to.
    pub fn store_loaded(&self, words: &Bitmap, range: Range<usize>) -> Option<Range<usize>> {
        for word in range.clone() {
            // In one step, so that a bit that is set meanwhile is not lost.
            let _ = self.held[word].fetch_update(SeqCst, SeqCst, |held| {
                Some(words[word] & (held | !self.claimed[word].load(SeqCst)))
            });
            self.clear_full(word);
        }
        let mut again: Option<Range<usize>> = None;
        for word in range {
            let (group, mask) = summary(word);
            if self.cleared[group].fetch_and(!mask, SeqCst) & mask != 0 {
                again = Some(again.map_or(word, |range| range.start)..word + 1);
            }
        }
        again
    }

    /// Declares the held bits complete for `generation`. `expires` is the earliest end of a quarantine that
    /// was read.
    pub fn finish_load(&self, generation: u64, expires: i64) {
        self.expires.fetch_min(expires, SeqCst);
        self.generation.store(generation, SeqCst);
    }

    /// Empties the page for another key. No other process may use it meanwhile.
    pub fn reset(&self) {
        self.generation.store(0, SeqCst);
        self.expires.store(i64::MAX, SeqCst);
        self.claims.store(0, SeqCst);
        let all = [self.cleared.as_slice(), &self.full, &self.held, &self.claimed];
        for word in all.into_iter().flatten() {
            word.store(0, SeqCst);
        }
    }
}

#[cfg(test)]
impl Page {
    /// An empty page, like zeroed shared memory.
    pub(crate) fn empty() -> Box<Self> {
        use std::array::from_fn;
        Box::new(Self {
            next: AtomicU32::new(0),
            referenced: AtomicU32::new(0),
            key: from_fn(|_| AtomicU64::new(0)),
            generation: AtomicU64::new(0),
            expires: AtomicI64::new(0),
            claims: AtomicU32::new(0),
            cleared: from_fn(|_| AtomicU64::new(0)),
            full: from_fn(|_| AtomicU64::new(0)),
            held: from_fn(|_| AtomicU64::new(0)),
            claimed: from_fn(|_| AtomicU64::new(0)),
        })
    }
}

#[cfg(all(test, feature = "loom"))]
mod model;
#[cfg(all(test, not(feature = "loom")))]
mod tests;
