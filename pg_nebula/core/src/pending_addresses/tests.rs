use std::collections::BTreeMap;

use super::*;
use crate::bitmap_page::tests::Dice;

fn change(subtransaction: u32, number: u128, kind: ChangeKind) -> Change {
    Change { subtransaction, pool: 1, number, kind }
}

#[test]
fn a_rollback_undoes_the_newest_first_and_only_its_own() {
    let mut pending = PendingAddresses::new();
    pending.push(change(1, 1, ChangeKind::Claimed));
    pending.push(change(2, 2, ChangeKind::Claimed));
    pending.push(change(3, 3, ChangeKind::Claimed));
    pending.reparent(3, 2);
    let undone: Vec<u128> = pending.undo(2).iter().map(|e| e.number).collect();
    assert_eq!(undone, [3, 2]);
    let left: Vec<u128> = pending.finish().iter().map(|e| e.number).collect();
    assert_eq!(left, [1]);
    assert!(pending.is_empty());
}

#[test]
fn what_was_given_back_is_free_for_oneself_until_it_is_taken_or_the_gift_undone() {
    let mut pending = PendingAddresses::new();
    pending.push(change(1, 7, ChangeKind::Released));
    pending.push(change(2, 5, ChangeKind::Released));
    assert_eq!(pending.lowest_free(1, &(0..=10)), Some(5));
    assert_eq!(pending.lowest_free(1, &(6..=10)), Some(7));
    assert_eq!(pending.lowest_free(2, &(0..=10)), None, "another pool");
    pending.push(change(2, 7, ChangeKind::Inserted));
    assert_eq!(pending.lowest_free(1, &(6..=10)), None);
    pending.undo(2);
    assert_eq!(pending.lowest_free(1, &(0..=10)), Some(7));
    pending.push(change(1, 7, ChangeKind::Inserted));
    assert_eq!(pending.retract(1, 7), Some(ChangeKind::Inserted));
    assert_eq!(pending.lowest_free(1, &(0..=10)), Some(7), "not needed after all");
    assert_eq!(pending.retract(1, 8), None);
}

#[test]
fn too_many_gifts_become_one_restart() {
    let mut pending = PendingAddresses::new();
    for number in 0..3 * MAX_RELEASED as u128 {
        pending.push(change(1, number, ChangeKind::Released));
    }
    let changes = pending.finish();
    assert_eq!(changes.len(), MAX_RELEASED + 1);
    assert_eq!(changes[MAX_RELEASED].kind, ChangeKind::Invalidated);
}

/// Random nested subtransactions, against a stack of copies.
#[test]
fn agrees_with_a_model() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut pending = PendingAddresses::new();
        let mut next = 1;
        // Of each open subtransaction: its number, and the free set when it began.
        let mut open: Vec<(u32, BTreeMap<u128, ()>)> = vec![(1, BTreeMap::new())];
        let mut free: BTreeMap<u128, ()> = BTreeMap::new();
        for _ in 0..300 {
            let (current, _) = *open.last().map(|(number, _)| (number, ())).as_ref().unwrap();
            let number = dice.roll(8) as u128;
            match dice.roll(5) {
                0 => {
                    pending.push(change(*current, number, ChangeKind::Released));
                    free.insert(number, ());
                }
                1 if free.contains_key(&number) => {
                    pending.push(change(*current, number, ChangeKind::Inserted));
                    free.remove(&number);
                }
                2 => {
                    next += 1;
                    open.push((next, free.clone()));
                }
                3 if open.len() > 1 => {
                    let (ended, _) = open.pop().unwrap();
                    pending.reparent(ended, open.last().unwrap().0);
                }
                4 if open.len() > 1 => {
                    let (ended, before) = open.pop().unwrap();
                    pending.undo(ended);
                    free = before;
                }
                _ => pending.push(change(*current, 100 + number, ChangeKind::Claimed)),
            }
            assert_eq!(pending.lowest_free(1, &(0..=50)), free.keys().next().copied(), "seed {seed}");
        }
    }
}
