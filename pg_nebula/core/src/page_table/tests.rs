use std::collections::{HashMap, HashSet};

use super::memory::Memory;
use super::*;
use crate::test_rng::TestRng;

fn pool(pool: i32) -> PoolKey {
    PoolKey { database: 5, pool }
}

fn page(number: u128) -> PageKey {
    PageKey { pool: pool(1), number }
}

#[test]
fn a_page_is_found_until_it_is_evicted() {
    let memory = Memory::new(7);
    let map = memory.map();
    let mut rng = TestRng(1);
    let mut evicted = 0;
    for _ in 0..2000 {
        let key = PageKey { pool: pool(rng.below(3) as i32), number: (rng.below(20) as u128) << 70 };
        let found = map.find(key).map(std::ptr::from_ref);
        let added = map.add(key).map(std::ptr::from_ref);
        assert!(added.is_some() && (found.is_none() || found == added));
        evicted += u64::from(found.is_none());
        let keys: Vec<PageKey> = map.keys().collect();
        assert!(keys.len() <= 7);
        assert_eq!(
            keys.iter().map(|key| key.as_words()).collect::<HashSet<_>>().len(),
            keys.len(),
            "no key twice"
        );
        assert!(keys.iter().all(|key| map.find(*key).is_some()), "every page is in its chain");
    }
    assert_eq!(map.header.evictions.load(SeqCst), evicted - 7);
}

#[test]
fn pages_with_claims_are_not_evicted() {
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
    assert!(map.add(page(50)).is_none(), "every page has claims");
    map.find(page(0)).unwrap().unclaim(9);
    assert!(!map.add(page(50)).unwrap().is_claimed(9), "a page starts empty");
}

#[test]
fn an_invalidation_changes_the_generation_of_the_pool_or_of_the_database_only() {
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
    assert_ne!(one.generation.load(SeqCst), before, "the pool has another first page");
}

#[test]
fn slots_are_reused_except_those_with_claims_in_flight() {
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
fn orphan_transactions_are_tracked_until_they_are_over() {
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
    assert_ne!(slot.generation.load(SeqCst), before, "its pool is loaded again");
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
