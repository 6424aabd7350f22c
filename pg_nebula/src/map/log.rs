//! What the transaction at hand has done to addresses, so that the map can follow its end. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Addresses given back one by one in one transaction; beyond, the whole pool is read anew.
const MOST_GIVEN: usize = 1 << 16;

/// What happened to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Claimed in the map, and held if the transaction commits.
    Claimed,
    /// Held again after the same transaction had given it back; its held bit never went away.
    Retaken,
    /// Its row is gone if the transaction commits.
    Given,
    /// Its quarantine ends at this time, in PostgreSQL's microseconds.
    Quarantined(i64),
    /// Nothing known of the pool is worth keeping; the address means nothing.
    Restart,
    /// Usage of the pool may reach a threshold if the transaction commits; the address means nothing.
    Crossed,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Subtransaction it happened in.
    pub(crate) subtransaction: u32,
    /// Pool of the address.
    pub(crate) pool: i32,
    /// The address.
    pub(crate) number: u128,
    /// What happened.
    pub(crate) event: Event,
}

/// The events of a transaction, in order.
#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    /// Addresses this transaction has given back and not taken again: free for itself, held for all others.
    free: BTreeSet<(i32, u128)>,
}

impl Log {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: BTreeSet::new() }
    }

    /// Records an event.
    pub(crate) fn push(&mut self, entry: Entry) {
        let Entry { subtransaction, pool, .. } = entry;
        if entry.event == Event::Given && self.free.len() >= MOST_GIVEN {
            let restart = Entry { subtransaction, pool, number: 0, event: Event::Restart };
            if self.entries.last() != Some(&restart) {
                self.entries.push(restart);
            }
            return;
        }
        self.follow(entry);
        self.entries.push(entry);
    }

    /// Keeps `free` in step.
    fn follow(&mut self, entry: Entry) {
        match entry.event {
            Event::Given => drop(self.free.insert((entry.pool, entry.number))),
            Event::Retaken => drop(self.free.remove(&(entry.pool, entry.number))),
            Event::Claimed | Event::Quarantined(_) | Event::Restart | Event::Crossed => {}
        }
    }

    /// Takes back the newest event of this address; answers what it was.
    pub(crate) fn retract(&mut self, pool: i32, number: u128) -> Option<Event> {
        let of_address = |e: &Entry| !matches!(e.event, Event::Restart | Event::Crossed);
        let index =
            self.entries.iter().rposition(|e| e.pool == pool && e.number == number && of_address(e))?;
        let entry = self.entries.remove(index);
        if entry.event == Event::Retaken {
            self.free.insert((pool, number));
        }
        Some(entry.event)
    }

    /// The lowest address of a pool, within a range, that is free for this transaction alone.
    pub(crate) fn lowest_free(&self, pool: i32, range: &RangeInclusive<u128>) -> Option<u128> {
        self.free.range((pool, *range.start())..=(pool, *range.end())).next().map(|(_, number)| *number)
    }

    /// A subtransaction ended well: what it did is its parent's.
    pub(crate) fn reparent(&mut self, subtransaction: u32, parent: u32) {
        // Children end before their parents and are numbered later, so theirs are the last entries.
        for entry in self.entries.iter_mut().rev().take_while(|e| e.subtransaction >= subtransaction) {
            entry.subtransaction = parent;
        }
    }

    /// A subtransaction was rolled back: its events, newest first, which are then forgotten.
    pub(crate) fn undo(&mut self, subtransaction: u32) -> Vec<Entry> {
        let kept = self.entries.iter().rposition(|e| e.subtransaction < subtransaction).map_or(0, |i| i + 1);
        let mut undone = self.entries.split_off(kept);
        if undone.iter().any(|e| matches!(e.event, Event::Given | Event::Retaken)) {
            self.free.clear();
            for index in 0..self.entries.len() {
                self.follow(self.entries[index]);
            }
        }
        undone.reverse();
        undone
    }

    /// The transaction ended: all its events, in order, which are then forgotten.
    pub(crate) fn finish(&mut self) -> Vec<Entry> {
        self.free.clear();
        std::mem::take(&mut self.entries)
    }

    /// Whether this transaction has done anything to an address.
    pub(crate) fn touches(&self, pool: i32, number: u128) -> bool {
        // Beyond the limit it is not known which addresses were given back.
        self.free.len() >= MOST_GIVEN
            || self.entries.iter().any(|e| {
                !matches!(e.event, Event::Restart | Event::Crossed) && (e.pool, e.number) == (pool, number)
            })
    }

    /// Whether nothing happened.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
