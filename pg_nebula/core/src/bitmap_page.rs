//! One page of the map: 32 768 consecutive addresses, two bits each. Pure: atomics only, no PostgreSQL.
//!
//! *Held* says that a row holds the address (or that it is reserved), *claimed* that a transaction in flight is about
//! to. Both are hints with one rule: a bit wrongly clear costs somebody one insert that conflicts, a bit wrongly set
//! hides a free address. So where two events race, the order below leaves the bit clear.
//!
//! Every field is an atomic and all zeroes is a valid, empty page: shared memory needs no constructor.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

/// Addresses of a page as a power of two.
pub const PAGE_SHIFT: u32 = 15;
/// 64-bit words of one bitmap.
pub const BITMAP_WORDS: usize = 1 << (PAGE_SHIFT - 6);
/// 64-bit words with one bit for each word of a bitmap.
const SUMMARY: usize = BITMAP_WORDS / 64;

/// Held bits of a page, as read from the table.
pub type Bitmap = [u64; BITMAP_WORDS];

/// See the module.
#[repr(C)]
pub struct Page {
    /// Next page in the same bucket of the directory, as index + 1; 0 ends the chain.
    pub next: AtomicU32,
    /// Set by use, cleared by the clock that looks for a page to evict.
    pub used: AtomicU32,
    /// Key: database, pool, and the two halves of the page number.
    pub key: [AtomicU64; 3],
    /// Generation of the pool at which the held bits were read; 0: not read yet.
    loaded: AtomicU64,
    /// When a quarantine in this page ends, in PostgreSQL's microseconds: then the held bits are read again.
    expires: AtomicI64,
    /// Number of claimed bits.
    claims: AtomicU32,
    /// Bitmap in which an address was given back since the current reading began.
    touched: [AtomicU64; SUMMARY],
    /// Bitmap in which every address is held or claimed.
    full: [AtomicU64; SUMMARY],
    held: [AtomicU64; BITMAP_WORDS],
    claimed: [AtomicU64; BITMAP_WORDS],
}

/// Word and mask of a bit.
fn place(bit: u16) -> (usize, u64) {
    (usize::from(bit >> 6), 1 << (bit & 63))
}

impl Page {
    /// Whether the held bits are those of `generation` and no quarantine has ended since.
    pub fn is_current(&self, generation: u64, now: i64) -> bool {
        self.loaded.load(SeqCst) == generation && now < self.expires.load(SeqCst)
    }

    /// Claims the lowest address that is neither held nor claimed.
    pub fn claim_lowest(&self) -> Option<u16> {
        for (group, full) in self.full.iter().enumerate() {
            loop {
                let inside = full.load(SeqCst).trailing_ones() as usize;
                if inside == 64 {
                    break;
                }
                if let Some(bit) = self.claim_in_word(group * 64 + inside) {
                    return Some(bit);
                }
            }
        }
        None
    }

    /// Claims the lowest free address of a word; `None` once the word is full, which the summary then says.
    fn claim_in_word(&self, word: usize) -> Option<u16> {
        loop {
            // Held first: a claim that becomes a holding sets held before it clears claimed.
            let taken = self.held[word].load(SeqCst) | self.claimed[word].load(SeqCst);
            if taken == u64::MAX {
                let (group, mask) = (word / 64, 1_u64 << (word % 64));
                self.full[group].fetch_or(mask, SeqCst);
                // Whoever cleared a bit meanwhile may have cleared the summary before it was set.
                if self.held[word].load(SeqCst) | self.claimed[word].load(SeqCst) == u64::MAX {
                    return None;
                }
                self.full[group].fetch_and(!mask, SeqCst);
                continue;
            }
            let bit = (word * 64) as u16 + taken.trailing_ones() as u16;
            if self.claim(bit) {
                if self.held[word].load(SeqCst) & place(bit).1 == 0 {
                    return Some(bit);
                }
                self.unclaim(bit);
            }
        }
    }

    /// Claims one address; `false` when another transaction has claimed it. Whether a row holds it is not asked.
    pub fn claim(&self, bit: u16) -> bool {
        let (word, mask) = place(bit);
        let won = self.claimed[word].fetch_or(mask, SeqCst) & mask == 0;
        if won {
            self.claims.fetch_add(1, SeqCst);
        }
        won
    }

    /// Ends a claim that came to nothing, if it is there.
    pub fn unclaim(&self, bit: u16) {
        let (word, mask) = place(bit);
        if self.claimed[word].fetch_and(!mask, SeqCst) & mask != 0 {
            self.claims.fetch_sub(1, SeqCst);
        }
        self.open(word);
    }

    /// A row holds the address now; a claim on it ends.
    pub fn set_held(&self, bit: u16) {
        let (word, mask) = place(bit);
        self.held[word].fetch_or(mask, SeqCst);
        if self.claimed[word].fetch_and(!mask, SeqCst) & mask != 0 {
            self.claims.fetch_sub(1, SeqCst);
        }
    }

    /// No row holds the address any more. A claim on it is left alone: it is somebody else's, and new.
    pub fn clear_held(&self, bit: u16) {
        let (word, mask) = place(bit);
        // Touched first: a reader that does not see the touch stores its word before this clears the bit.
        self.touched[word / 64].fetch_or(1 << (word % 64), SeqCst);
        self.held[word].fetch_and(!mask, SeqCst);
        self.open(word);
    }

    fn open(&self, word: usize) {
        self.full[word / 64].fetch_and(!(1 << (word % 64)), SeqCst);
    }

    /// Whether the summary shows room.
    pub fn has_room(&self) -> bool {
        self.full.iter().any(|full| full.load(SeqCst) != u64::MAX)
    }

    /// Number of claims in flight.
    pub fn claims(&self) -> u32 {
        self.claims.load(SeqCst)
    }

    /// Whether the address is claimed.
    pub fn is_claimed(&self, bit: u16) -> bool {
        let (word, mask) = place(bit);
        self.claimed[word].load(SeqCst) & mask != 0
    }

    /// The held and the claimed bits, each word as of its own moment.
    pub fn bits(&self) -> (Bitmap, Bitmap) {
        let read = |words: &[AtomicU64; BITMAP_WORDS]| std::array::from_fn(|word| words[word].load(SeqCst));
        (read(&self.held), read(&self.claimed))
    }

    /// A quarantine in this page ends at `when`.
    pub fn expire_at(&self, when: i64) {
        self.expires.fetch_min(when, SeqCst);
    }

    /// When the first quarantine in this page ends; `i64::MAX` for none.
    pub fn expires(&self) -> i64 {
        self.expires.load(SeqCst)
    }

    /// The held bits are to be read again before the next use.
    pub fn invalidate(&self) {
        self.loaded.store(0, SeqCst);
    }

    /// The table is about to be read: from now on it is recorded where addresses are given back.
    pub fn begin_load(&self) {
        for touched in &self.touched {
            touched.store(0, SeqCst);
        }
        self.expires.store(i64::MAX, SeqCst);
    }

    /// Takes over what was read from the table, in the given words only; answers the range of words in which
    /// addresses were given back since the reading began. Those must be read again. A row that a claim stands for is
    /// not taken over: whoever claimed tells the outcome, and would not know of a held bit to clear.
    pub fn store_loaded(
        &self,
        words: &Bitmap,
        range: std::ops::Range<usize>,
    ) -> Option<std::ops::Range<usize>> {
        for word in range.clone() {
            self.held[word].store(words[word] & !self.claimed[word].load(SeqCst), SeqCst);
            self.open(word);
        }
        let mut again: Option<std::ops::Range<usize>> = None;
        for word in range {
            if self.touched[word / 64].fetch_and(!(1 << (word % 64)), SeqCst) >> (word % 64) & 1 == 1 {
                again = Some(again.map_or(word, |r| r.start)..word + 1);
            }
        }
        again
    }

    /// The held bits are complete as of `generation`; the first quarantine seen ends at `expires`.
    pub fn finish_load(&self, generation: u64, expires: i64) {
        self.expires.fetch_min(expires, SeqCst);
        self.loaded.store(generation, SeqCst);
    }

    /// Empties the page for another key. Nobody else may use it meanwhile.
    pub fn reset(&self) {
        self.loaded.store(0, SeqCst);
        self.expires.store(i64::MAX, SeqCst);
        self.claims.store(0, SeqCst);
        let all = [self.touched.as_slice(), &self.full, &self.held, &self.claimed];
        for word in all.into_iter().flatten() {
            word.store(0, SeqCst);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
