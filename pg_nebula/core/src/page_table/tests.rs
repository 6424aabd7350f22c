use std::collections::{HashMap, HashSet};

use super::*;
use crate::bitmap_page::tests::{Dice, blank};

/// Memory for a map, as the server would give it.
struct Memory {
    header: Header,
    slots: Vec<PoolSlot>,
    orphans: Vec<OrphanTransaction>,
    buckets: Vec<AtomicU32>,
    pages: Vec<Page>,
}

impl Memory {
    fn new(pages: usize) -> Self {
        Self {
            header: Header::default(),
            slots: (0..pages).map(|_| PoolSlot::default()).collect(),
            orphans: (0..4).map(|_| OrphanTransaction::default()).collect(),
            buckets: (0..pages.next_power_of_two()).map(|_| AtomicU32::new(0)).collect(),
            pages: (0..pages).map(|_| *blank()).collect(),
        }
    }

    fn map(&self) -> PageTable<'_> {
        PageTable {
            header: &self.header,
            slots: &self.slots,
            orphans: &self.orphans,
            buckets: &self.buckets,
            pages: &self.pages,
        }
    }
}

fn pool(pool: i32) -> PoolKey {
    PoolKey { database: 5, pool }
}

fn page(number: u128) -> PageKey {
    PageKey { pool: pool(1), number }
}

#[test]
fn pages_are_found_again_until_they_are_evicted() {
    let memory = Memory::new(7);
    let map = memory.map();
    let mut dice = Dice(1);
    let mut evicted = 0;
    for _ in 0..2000 {
        let key = PageKey { pool: pool(dice.roll(3) as i32), number: (dice.roll(20) as u128) << 70 };
        let found = map.find(key).map(std::ptr::from_ref);
        let added = map.add(key).map(std::ptr::from_ref);
        assert!(added.is_some() && (found.is_none() || found == added));
        evicted += u64::from(found.is_none());
        let keys: Vec<PageKey> = map.keys().collect();
        assert!(keys.len() <= 7);
        assert_eq!(
            keys.iter().map(|key| key.words()).collect::<HashSet<_>>().len(),
            keys.len(),
            "no key twice"
        );
        assert!(keys.iter().all(|key| map.find(*key).is_some()), "every page is in its chain");
    }
    assert_eq!(map.header.evictions.load(SeqCst), evicted - 7);
}

#[test]
fn pages_with_claims_stay() {
    let memory = Memory::new(4);
    let map = memory.map();
    for number in 0..3 {
        map.add(page(number)).unwrap().claim(9);
    }
    for number in 3..50 {
        assert!(map.add(page(number)).is_some());
    }
    assert!((0..3).all(|number| map.find(page(number)).is_some_and(|page| page.is_claimed(9))));
    map.find(page(49)).unwrap().claim(1);
    assert!(map.add(page(50)).is_none(), "no page can be spared");
    map.find(page(0)).unwrap().unclaim(9);
    assert!(!map.add(page(50)).unwrap().is_claimed(9), "a page starts empty");
}

#[test]
fn the_hint_moves_on_only_over_full_pages_and_comes_back() {
    let memory = Memory::new(4);
    let map = memory.map();
    let slot = map.add_slot(pool(1), 100).unwrap();
    slot.advance(0, || false);
    slot.advance(1, || false);
    assert_eq!(slot.hint(), 2);
    slot.advance(2, || true);
    assert_eq!(slot.hint(), 2, "room was made meanwhile");
    slot.advance(0, || false);
    assert_eq!(slot.hint(), 2, "an old look changes nothing");
    slot.mark_free(101);
    assert_eq!(slot.hint(), 1);
    slot.skip_to(101, 1000);
    assert_eq!(slot.hint(), 900);
    slot.mark_free(3);
    assert_eq!(slot.hint(), 0, "below the pool counts as its first page");
}

#[test]
fn a_restart_makes_pages_old() {
    let memory = Memory::new(4);
    let map = memory.map();
    let (one, two) = (map.add_slot(pool(1), 0).unwrap(), map.add_slot(pool(2), 0).unwrap());
    let before = (one.generation.load(SeqCst), two.generation.load(SeqCst));
    map.invalidate(5, Some(1));
    assert_ne!(one.generation.load(SeqCst), before.0);
    assert_eq!(two.generation.load(SeqCst), before.1);
    map.invalidate(6, None);
    assert_eq!(two.generation.load(SeqCst), before.1, "another database");
    map.invalidate(5, None);
    assert_ne!(two.generation.load(SeqCst), before.1);
    let before = one.generation.load(SeqCst);
    map.add_slot(pool(1), 7);
    assert_ne!(one.generation.load(SeqCst), before, "the pool begins elsewhere now");
    one.expires.store(50, SeqCst);
    one.advance(0, || false);
    one.rewind_if_expired(49);
    assert_eq!(one.hint(), 1);
    one.rewind_if_expired(50);
    assert_eq!(one.hint(), 0, "a quarantine has ended");
}

#[test]
fn slots_are_reused_but_not_those_in_use() {
    let memory = Memory::new(8);
    let map = memory.map();
    let mut generations = HashMap::new();
    for number in 0..100 {
        let slot = map.add_slot(pool(number), 0).unwrap();
        assert_eq!(slot.owner(), Some(pool(number)));
        assert!(
            generations.insert(slot.generation.load(SeqCst), number).is_none(),
            "generations are not repeated"
        );
    }
    for slot in map.slots {
        slot.in_flight.fetch_add(1, SeqCst);
    }
    assert!(map.add_slot(pool(1000), 0).is_none());
    assert!(map.slot(pool(99)).is_some());
}

#[test]
fn transactions_are_looked_after_until_they_are_over() {
    let memory = Memory::new(4);
    let map = memory.map();
    let slot = map.add_slot(pool(1), 0).unwrap();
    assert!(!map.has_orphans());
    map.track_orphan(pool(1), 700);
    map.track_orphan(pool(1), 700);
    map.track_orphan(pool(1), 701);
    map.track_orphan(pool(2), 700);
    assert_eq!(map.orphans_of(pool(1)), [700, 701]);
    let before = slot.generation.load(SeqCst);
    map.end_orphan(pool(1), 700);
    assert_ne!(slot.generation.load(SeqCst), before, "what it did is read anew");
    assert_eq!(map.orphans_of(pool(1)), [701]);
    map.end_orphan(pool(1), 701);
    map.end_orphan(pool(1), 701);
    map.end_orphan(pool(2), 700);
    assert!(!map.has_orphans());
    for transaction in 1..10 {
        map.track_orphan(pool(1), transaction);
    }
    assert_eq!(map.orphans_of(pool(1)), [1, 2, 3, 4], "as many as there is room for");
}
