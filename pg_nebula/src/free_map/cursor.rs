//! The search without shared memory: reads the table from the point where the last search of this session
//! ended.
//!
//! Claims of other sessions show as advisory locks, their releases arrive as invalidation messages.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::address_lock::try_lock_address;
use super::lowest_free_range::lowest_free_range;
use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pools::pool::Pool;

/// How long a search may start at the remembered point. No message tells of a quarantine that ends, so after
/// this time a search starts at the lowest address again.
const MAX_AGE: Duration = Duration::from_secs(5);

thread_local! {
    /// By pool: the address below which no free one is known, and until when that is used.
    static STARTS: RefCell<HashMap<i32, (u128, Instant)>> = RefCell::new(HashMap::new());
    /// Counts releases, so that a search during which one arrived does not store its end point.
    static RELEASES: Cell<u64> = const { Cell::new(0) };
}

/// An address of the pool may have become free: searches start there if that is lower.
pub(super) fn lower(pool: i32, number: u128) {
    RELEASES.set(RELEASES.get() + 1);
    STARTS.with_borrow_mut(|starts| {
        if let Some((start, _)) = starts.get_mut(&pool) {
            *start = number.min(*start);
        }
    });
}

/// Any address of any pool may have become free: all searches start at the lowest address.
pub(crate) fn reset_all() {
    RELEASES.set(RELEASES.get() + 1);
    STARTS.with_borrow_mut(HashMap::clear);
}

/// One search through a pool.
pub(super) struct Cursor {
    /// The next address to try; `None` past the last one.
    next: Option<u128>,
    /// The run of addresses without a row that the table was last read for.
    free_range: Option<(u128, u128)>,
    /// The lowest address that was skipped because another transaction has locked it.
    lowest_locked: Option<u128>,
    /// [`RELEASES`] when the search began.
    releases: u64,
}

impl Cursor {
    /// Starts where the last search ended, or at the lowest address.
    pub(super) fn new(pool: &Pool) -> Self {
        let first = *pool.network.assignable().start();
        let start = STARTS.with_borrow(|starts| starts.get(&pool.id).copied());
        let next = start.filter(|(_, until)| Instant::now() < *until).map_or(first, |(start, _)| start);
        Self { next: Some(next.max(first)), free_range: None, lowest_locked: None, releases: RELEASES.get() }
    }

    /// Locks and returns the next address that has neither a row nor a lock of another transaction.
    pub(super) fn lock_next(&mut self, pool: &Pool) -> Result<Option<u128>> {
        loop {
            let Some(from) = self.next.and_then(|from| pool.assignable_from(from)) else { return Ok(None) };
            if self.free_range.is_none_or(|(_, high)| high < from) {
                let last = *pool.network.assignable().end();
                // The fast path of an allocation searches with the caller's privileges.
                self.free_range =
                    as_owner(|| lowest_free_range(pool.project, pool.network.family(), from, last))?;
            }
            let Some((low, high)) = self.free_range else { return Ok(None) };
            let low = low.max(from);
            if pool.assignable_from(low) != Some(low) {
                self.next = Some(low);
                self.free_range = None;
                continue;
            }
            self.next = low.checked_add(1);
            self.free_range = Some((low, high));
            if try_lock_address(pool, low) {
                self.store_start(pool, self.lowest_locked.unwrap_or(low));
                return Ok(Some(low));
            }
            self.lowest_locked.get_or_insert(low);
        }
    }

    /// The address locked last turned out to be held, so the range is out of date: the table is read again.
    pub(super) fn discard_range(&mut self) {
        self.free_range = None;
    }

    fn store_start(&self, pool: &Pool, start: u128) {
        if RELEASES.get() != self.releases {
            return;
        }
        STARTS.with_borrow_mut(|starts| {
            let until = starts.get(&pool.id).map(|(_, until)| *until).filter(|until| Instant::now() < *until);
            starts.insert(pool.id, (start, until.unwrap_or_else(|| Instant::now() + MAX_AGE)));
        });
    }
}
