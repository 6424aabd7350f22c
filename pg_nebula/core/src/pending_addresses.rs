//! What the transaction at hand has done to addresses, so that the map can follow its end. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Addresses given back one by one in one transaction; beyond, the whole pool is read anew.
const MAX_RELEASED: usize = 1 << 16;

/// What happened to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Claimed in the map, and held if the transaction commits.
    Claimed,
    /// Held again after the same transaction had given it back; its held bit never went away.
    Inserted,
    /// Its row is gone if the transaction commits.
    Released,
    /// Its quarantine ends at this time, in PostgreSQL's microseconds.
    Quarantined(i64),
    /// Nothing known of the pool is worth keeping; the address means nothing.
    Invalidated,
    /// Usage of the pool may reach a threshold if the transaction commits; the address means nothing.
    UsageCheck,
}

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Subtransaction it happened in.
    pub subtransaction: u32,
    /// Pool of the address.
    pub pool: i32,
    /// The address.
    pub number: u128,
    /// What happened.
    pub kind: ChangeKind,
}

/// The events of a transaction, in order.
#[derive(Default)]
pub struct PendingAddresses {
    changes: Vec<Change>,
    /// Addresses this transaction has given back and not taken again: free for itself, held for all others.
    free: BTreeSet<(i32, u128)>,
}

impl PendingAddresses {
    /// An empty one.
    pub const fn new() -> Self {
        Self { changes: Vec::new(), free: BTreeSet::new() }
    }

    /// Records an kind.
    pub fn push(&mut self, change: Change) {
        let Change { subtransaction, pool, .. } = change;
        if change.kind == ChangeKind::Released && self.free.len() >= MAX_RELEASED {
            let restart = Change { subtransaction, pool, number: 0, kind: ChangeKind::Invalidated };
            if self.changes.last() != Some(&restart) {
                self.changes.push(restart);
            }
            return;
        }
        self.follow(change);
        self.changes.push(change);
    }

    /// Keeps `free` in step.
    fn follow(&mut self, change: Change) {
        match change.kind {
            ChangeKind::Released => drop(self.free.insert((change.pool, change.number))),
            ChangeKind::Inserted => drop(self.free.remove(&(change.pool, change.number))),
            ChangeKind::Claimed
            | ChangeKind::Quarantined(_)
            | ChangeKind::Invalidated
            | ChangeKind::UsageCheck => {}
        }
    }

    /// Takes back the newest kind of this address; answers what it was.
    pub fn retract(&mut self, pool: i32, number: u128) -> Option<ChangeKind> {
        let of_address = |e: &Change| !matches!(e.kind, ChangeKind::Invalidated | ChangeKind::UsageCheck);
        let index =
            self.changes.iter().rposition(|e| e.pool == pool && e.number == number && of_address(e))?;
        let change = self.changes.remove(index);
        if change.kind == ChangeKind::Inserted {
            self.free.insert((pool, number));
        }
        Some(change.kind)
    }

    /// The lowest address of a pool, within a range, that is free for this transaction alone.
    pub fn lowest_free(&self, pool: i32, range: &RangeInclusive<u128>) -> Option<u128> {
        self.free.range((pool, *range.start())..=(pool, *range.end())).next().map(|(_, number)| *number)
    }

    /// A subtransaction ended well: what it did is its parent's.
    pub fn reparent(&mut self, subtransaction: u32, parent: u32) {
        // Children end before their parents and are numbered later, so theirs are the last changes.
        for change in self.changes.iter_mut().rev().take_while(|e| e.subtransaction >= subtransaction) {
            change.subtransaction = parent;
        }
    }

    /// A subtransaction was rolled back: its events, newest first, which are then forgotten.
    pub fn undo(&mut self, subtransaction: u32) -> Vec<Change> {
        let kept = self.changes.iter().rposition(|e| e.subtransaction < subtransaction).map_or(0, |i| i + 1);
        let mut undone = self.changes.split_off(kept);
        if undone.iter().any(|e| matches!(e.kind, ChangeKind::Released | ChangeKind::Inserted)) {
            self.free.clear();
            for index in 0..self.changes.len() {
                self.follow(self.changes[index]);
            }
        }
        undone.reverse();
        undone
    }

    /// The transaction ended: all its events, in order, which are then forgotten.
    pub fn finish(&mut self) -> Vec<Change> {
        self.free.clear();
        std::mem::take(&mut self.changes)
    }

    /// Whether this transaction has done anything to an address.
    pub fn contains(&self, pool: i32, number: u128) -> bool {
        // Beyond the limit it is not known which addresses were given back.
        self.free.len() >= MAX_RELEASED
            || self.changes.iter().any(|e| {
                !matches!(e.kind, ChangeKind::Invalidated | ChangeKind::UsageCheck)
                    && (e.pool, e.number) == (pool, number)
            })
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests;
