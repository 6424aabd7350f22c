//! Changes of addresses by a transaction, applied to the free map when it ends.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Releases recorded one by one in a transaction. Beyond, the whole pool is invalidated.
const MAX_RELEASED: usize = 1 << 16;

/// The kind of change of an address or its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Claimed in the map, until the transaction ends.
    Claimed,
    /// Its row was inserted. A commit makes it held. Also: claimed by the transaction that has released it.
    Inserted,
    /// Its row was deleted. A commit makes it free.
    Released,
    /// Its quarantine ends at this time, in PostgreSQL's microseconds.
    Quarantined(i64),
    /// Of the whole pool: a commit makes all its pages out of date.
    Invalidated,
    /// Of the whole pool: a commit may bring its usage to a threshold.
    UsageCheck,
}

impl ChangeKind {
    fn concerns_one_address(self) -> bool {
        !matches!(self, Self::Invalidated | Self::UsageCheck)
    }
}

/// A change of one address, or of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Subtransaction that made it.
    pub subtransaction: u32,
    /// `nebula.pool.pool_id`.
    pub pool: i32,
    /// Number of the address; means nothing for a change of the whole pool.
    pub number: u128,
    /// The kind of change.
    pub kind: ChangeKind,
}

impl Change {
    fn is_of(&self, pool: i32, number: u128) -> bool {
        self.kind.concerns_one_address() && (self.pool, self.number) == (pool, number)
    }
}

/// The changes of a transaction, in order.
#[derive(Default)]
pub struct PendingAddresses {
    changes: Vec<Change>,
    /// Addresses that this transaction has released and not inserted again: free for itself, held for all
    /// others.
    free: BTreeSet<(i32, u128)>,
}

impl PendingAddresses {
    /// No changes.
    pub const fn new() -> Self {
        Self { changes: Vec::new(), free: BTreeSet::new() }
    }

    /// Adds a change.
    pub fn push(&mut self, change: Change) {
        if change.kind == ChangeKind::Released && self.free.len() >= MAX_RELEASED {
            let invalidation = Change { number: 0, kind: ChangeKind::Invalidated, ..change };
            if self.changes.last() != Some(&invalidation) {
                self.changes.push(invalidation);
            }
            return;
        }
        self.update_free(change);
        self.changes.push(change);
    }

    fn update_free(&mut self, change: Change) {
        match change.kind {
            ChangeKind::Released => drop(self.free.insert((change.pool, change.number))),
            ChangeKind::Inserted => drop(self.free.remove(&(change.pool, change.number))),
            ChangeKind::Claimed
            | ChangeKind::Quarantined(_)
            | ChangeKind::Invalidated
            | ChangeKind::UsageCheck => {}
        }
    }

    /// Removes the newest claim or insertion of an address, and returns its kind.
    pub fn retract(&mut self, pool: i32, number: u128) -> Option<ChangeKind> {
        let is_claim = |kind| matches!(kind, ChangeKind::Claimed | ChangeKind::Inserted);
        let index =
            self.changes.iter().rposition(|change| change.is_of(pool, number) && is_claim(change.kind))?;
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

    /// A subtransaction was released: its changes become its parent's.
    pub fn reparent(&mut self, subtransaction: u32, parent: u32) {
        // Children end before their parents and have higher numbers, so their changes are the last ones.
        let of_child = |change: &&mut Change| change.subtransaction >= subtransaction;
        for change in self.changes.iter_mut().rev().take_while(of_child) {
            change.subtransaction = parent;
        }
    }

    /// A subtransaction was rolled back, or with 0 the transaction: removes and returns its changes, newest
    /// first. Without insertions of addresses that the transaction had released before: those are held again,
    /// by their former rows.
    pub fn undo(&mut self, subtransaction: u32) -> Vec<Change> {
        let last_kept = self.changes.iter().rposition(|change| change.subtransaction < subtransaction);
        let mut undone = self.changes.split_off(last_kept.map_or(0, |index| index + 1));
        if undone.iter().any(|change| matches!(change.kind, ChangeKind::Released | ChangeKind::Inserted)) {
            self.free.clear();
            for index in 0..self.changes.len() {
                self.update_free(self.changes[index]);
            }
            self.drop_reinsertions(&mut undone);
        }
        undone.reverse();
        undone
    }

    fn drop_reinsertions(&self, undone: &mut Vec<Change>) {
        let mut released = BTreeSet::new();
        undone.retain(|change| {
            let key = (change.pool, change.number);
            match change.kind {
                ChangeKind::Released => drop(released.insert(key)),
                // The quarantine of the former row is over, or a search finds out that it is held.
                ChangeKind::Claimed => drop(released.remove(&key)),
                ChangeKind::Inserted => return !released.contains(&key) && !self.free.contains(&key),
                ChangeKind::Quarantined(_) | ChangeKind::Invalidated | ChangeKind::UsageCheck => {}
            }
            true
        });
    }

    /// The changes so far, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The transaction was committed or prepared: removes and returns all changes, in order. Without releases
    /// of addresses that it has inserted again.
    pub fn finish(&mut self) -> Vec<Change> {
        let free = std::mem::take(&mut self.free);
        let mut changes = std::mem::take(&mut self.changes);
        changes.retain(|change| {
            change.kind != ChangeKind::Released || free.contains(&(change.pool, change.number))
        });
        changes
    }

    /// Whether this transaction has, or may have, changed an address.
    pub fn contains(&self, pool: i32, number: u128) -> bool {
        // Beyond the limit it is not recorded which addresses were released.
        self.free.len() >= MAX_RELEASED || self.changes.iter().any(|change| change.is_of(pool, number))
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests;
