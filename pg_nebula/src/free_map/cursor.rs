//! The search without shared memory: the truth, read from where the last search of this session ended.
//!
//! Other sessions' claims show as advisory locks, their releases arrive as invalidation messages.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::free_map::lowest_free_range;
use crate::free_map::mark;
use crate::pg::error::Result;
use crate::pools::pool::Pool;

use crate::pg::session::snapshot_is_fixed;

/// Nobody tells when a quarantine ends, so a search starts over from the lowest address this often.
const MEMORY: Duration = Duration::from_secs(5);

thread_local! {
    /// By pool: below this address nothing is free, as far as known, and until when that is believed.
    static CURSORS: RefCell<HashMap<i32, (u128, Instant)>> = RefCell::new(HashMap::new());
    /// Goes up with every release heard of, so that a search that ran meanwhile does not record its end.
    static HEARD: Cell<u64> = const { Cell::new(0) };
}

/// An address of the pool may have become free.
pub(super) fn lower(pool: i32, number: u128) {
    HEARD.set(HEARD.get() + 1);
    CURSORS.with_borrow_mut(|cursors| {
        if let Some((cursor, _)) = cursors.get_mut(&pool) {
            *cursor = number.min(*cursor);
        }
    });
}

/// Any address of any pool may have become free.
pub(crate) fn forget_all() {
    HEARD.set(HEARD.get() + 1);
    CURSORS.with_borrow_mut(HashMap::clear);
}

/// One search through a pool.
pub(super) struct Cursor {
    /// Where to look next; `None` past the end.
    cursor: Option<u128>,
    /// Free addresses found by the last look and not tried yet.
    gap: Option<(u128, u128)>,
    /// Lowest address passed by because another transaction marked it.
    busy: Option<u128>,
    heard: u64,
}

impl Cursor {
    /// Starts where the last one ended, or at the lowest address.
    pub(super) fn new(pool: &Pool) -> Self {
        let first = *pool.network.assignable().start();
        let known = CURSORS.with_borrow(|cursors| cursors.get(&pool.id).copied());
        let cursor = known.filter(|(_, until)| Instant::now() < *until).map_or(first, |(cursor, _)| cursor);
        Self { cursor: Some(cursor.max(first)), gap: None, busy: None, heard: HEARD.get() }
    }

    /// The next address without a row and without a mark, which is then marked.
    pub(super) fn take(&mut self, pool: &Pool) -> Result<Option<u128>> {
        loop {
            let Some(from) = self.cursor.and_then(|from| pool.assignable_from(from)) else { return Ok(None) };
            if self.gap.is_none_or(|(_, high)| high < from) {
                let last = *pool.network.assignable().end();
                self.gap = lowest_free_range(pool.project, pool.network.family(), from, last)?;
            }
            let Some((low, high)) = self.gap else { return Ok(None) };
            let low = low.max(from);
            if pool.assignable_from(low) != Some(low) {
                self.cursor = Some(low);
                self.gap = None;
                continue;
            }
            self.cursor = low.checked_add(1);
            self.gap = Some((low, high));
            if mark(pool, low)? {
                self.remember(pool, self.busy.unwrap_or(low));
                return Ok(Some(low));
            }
            self.busy.get_or_insert(low);
        }
    }

    /// The last address was held after all, so what was read is old: the next look reads again, from there on.
    pub(super) fn missed(&mut self) {
        self.gap = None;
    }

    fn remember(&self, pool: &Pool, cursor: u128) {
        if HEARD.get() != self.heard || snapshot_is_fixed() {
            return;
        }
        CURSORS.with_borrow_mut(|cursors| {
            let kept = cursors.get(&pool.id).map(|(_, until)| *until).filter(|until| Instant::now() < *until);
            cursors.insert(pool.id, (cursor, kept.unwrap_or_else(|| Instant::now() + MEMORY)));
        });
    }
}
