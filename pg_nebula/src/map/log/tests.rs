use std::collections::BTreeMap;

use super::*;
use crate::map::page::tests::Dice;

fn entry(subtransaction: u32, number: u128, event: Event) -> Entry {
    Entry { subtransaction, pool: 1, number, event }
}

#[test]
fn a_rollback_undoes_the_newest_first_and_only_its_own() {
    let mut log = Log::new();
    log.push(entry(1, 1, Event::Claimed));
    log.push(entry(2, 2, Event::Claimed));
    log.push(entry(3, 3, Event::Claimed));
    log.reparent(3, 2);
    let undone: Vec<u128> = log.undo(2).iter().map(|e| e.number).collect();
    assert_eq!(undone, [3, 2]);
    let left: Vec<u128> = log.finish().iter().map(|e| e.number).collect();
    assert_eq!(left, [1]);
    assert!(log.is_empty());
}

#[test]
fn what_was_given_back_is_free_for_oneself_until_it_is_taken_or_the_gift_undone() {
    let mut log = Log::new();
    log.push(entry(1, 7, Event::Given));
    log.push(entry(2, 5, Event::Given));
    assert_eq!(log.lowest_free(1, &(0..=10)), Some(5));
    assert_eq!(log.lowest_free(1, &(6..=10)), Some(7));
    assert_eq!(log.lowest_free(2, &(0..=10)), None, "another pool");
    log.push(entry(2, 7, Event::Retaken));
    assert_eq!(log.lowest_free(1, &(6..=10)), None);
    log.undo(2);
    assert_eq!(log.lowest_free(1, &(0..=10)), Some(7));
    log.push(entry(1, 7, Event::Retaken));
    assert_eq!(log.retract(1, 7), Some(Event::Retaken));
    assert_eq!(log.lowest_free(1, &(0..=10)), Some(7), "not needed after all");
    assert_eq!(log.retract(1, 8), None);
}

#[test]
fn too_many_gifts_become_one_restart() {
    let mut log = Log::new();
    for number in 0..3 * MOST_GIVEN as u128 {
        log.push(entry(1, number, Event::Given));
    }
    let entries = log.finish();
    assert_eq!(entries.len(), MOST_GIVEN + 1);
    assert_eq!(entries[MOST_GIVEN].event, Event::Restart);
}

/// Random nested subtransactions, against a stack of copies.
#[test]
fn agrees_with_a_model() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut log = Log::new();
        let mut next = 1;
        // Of each open subtransaction: its number, and the free set when it began.
        let mut open: Vec<(u32, BTreeMap<u128, ()>)> = vec![(1, BTreeMap::new())];
        let mut free: BTreeMap<u128, ()> = BTreeMap::new();
        for _ in 0..300 {
            let (current, _) = *open.last().map(|(number, _)| (number, ())).as_ref().unwrap();
            let number = dice.roll(8) as u128;
            match dice.roll(5) {
                0 => {
                    log.push(entry(*current, number, Event::Given));
                    free.insert(number, ());
                }
                1 if free.contains_key(&number) => {
                    log.push(entry(*current, number, Event::Retaken));
                    free.remove(&number);
                }
                2 => {
                    next += 1;
                    open.push((next, free.clone()));
                }
                3 if open.len() > 1 => {
                    let (ended, _) = open.pop().unwrap();
                    log.reparent(ended, open.last().unwrap().0);
                }
                4 if open.len() > 1 => {
                    let (ended, before) = open.pop().unwrap();
                    log.undo(ended);
                    free = before;
                }
                _ => log.push(entry(*current, 100 + number, Event::Claimed)),
            }
            assert_eq!(log.lowest_free(1, &(0..=50)), free.keys().next().copied(), "seed {seed}");
        }
    }
}
