use super::*;
use crate::test_rng::TestRng;

fn change(subtransaction: u32, number: u128, kind: ChangeKind) -> Change {
    Change { subtransaction, pool: 1, number, kind }
}

#[test]
fn a_rollback_returns_only_changes_of_its_subtransaction_newest_first() {
    let mut pending = PendingAddresses::new();
    pending.push(change(1, 1, ChangeKind::Claimed));
    pending.push(change(2, 2, ChangeKind::Claimed));
    pending.push(change(3, 3, ChangeKind::Claimed));
    pending.reparent(3, 2);
    let undone: Vec<u128> = pending.undo(2).iter().map(|change| change.number).collect();
    assert_eq!(undone, [3, 2]);
    let left: Vec<u128> = pending.finish().iter().map(|change| change.number).collect();
    assert_eq!(left, [1]);
    assert!(pending.is_empty());
}

#[test]
fn a_released_address_is_free_for_the_transaction_until_it_is_inserted_or_the_release_undone() {
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
    assert_eq!(pending.lowest_free(1, &(0..=10)), Some(7), "the insert was retracted");
    assert_eq!(pending.retract(1, 8), None);
}

#[test]
fn a_commit_frees_no_address_that_was_inserted_again() {
    let mut pending = PendingAddresses::new();
    for number in [7, 8] {
        pending.push(change(1, number, ChangeKind::Released));
    }
    pending.push(change(1, 7, ChangeKind::Inserted));
    let released = |changes: &[Change]| -> Vec<u128> {
        let released = changes.iter().filter(|change| change.kind == ChangeKind::Released);
        released.map(|change| change.number).collect()
    };
    assert_eq!(released(&pending.finish()), [8]);
    pending.push(change(1, 7, ChangeKind::Released));
    pending.push(change(2, 7, ChangeKind::Inserted));
    pending.undo(2);
    assert_eq!(released(&pending.finish()), [7], "that insertion was rolled back");
}

/// Insertions that a rollback of subtransaction 2 must take back in the map.
fn undone_insertions(changes: &[(u32, ChangeKind)]) -> usize {
    let mut pending = PendingAddresses::new();
    for (subtransaction, kind) in changes {
        pending.push(change(*subtransaction, 7, *kind));
    }
    pending.undo(2).iter().filter(|change| change.kind == ChangeKind::Inserted).count()
}

#[test]
fn a_rollback_frees_what_was_inserted_but_for_addresses_that_had_a_row_before() {
    use ChangeKind::{Claimed, Inserted, Released};
    assert_eq!(undone_insertions(&[(2, Claimed), (2, Inserted)]), 1);
    assert_eq!(undone_insertions(&[(2, Inserted), (2, Released)]), 1, "released after that");
    assert_eq!(undone_insertions(&[(2, Released), (2, Inserted)]), 0);
    assert_eq!(undone_insertions(&[(1, Released), (2, Inserted)]), 0);
    assert_eq!(
        undone_insertions(&[(2, Released), (2, Claimed), (2, Inserted)]),
        1,
        "its quarantine was over"
    );
}

#[test]
fn a_claim_is_retracted_and_a_release_of_the_same_address_stays() {
    let mut pending = PendingAddresses::new();
    pending.push(change(1, 7, ChangeKind::Claimed));
    pending.push(change(1, 7, ChangeKind::Released));
    assert_eq!(pending.retract(1, 7), Some(ChangeKind::Claimed));
    assert_eq!(pending.retract(1, 7), None);
    assert_eq!(pending.finish(), [change(1, 7, ChangeKind::Released)]);
}

#[test]
fn releases_beyond_the_limit_become_one_invalidation() {
    let mut pending = PendingAddresses::new();
    for number in 0..3 * MAX_RELEASED as u128 {
        pending.push(change(1, number, ChangeKind::Released));
    }
    let changes = pending.finish();
    assert_eq!(changes.len(), MAX_RELEASED + 1);
    assert_eq!(changes[MAX_RELEASED].kind, ChangeKind::Invalidated);
}

#[test]
fn a_change_of_the_whole_pool_is_no_change_of_an_address() {
    let mut pending = PendingAddresses::new();
    pending.push(change(1, 0, ChangeKind::Invalidated));
    pending.push(change(1, 0, ChangeKind::UsageCheck));
    assert!(!pending.contains(1, 0));
    assert_eq!(pending.retract(1, 0), None);
    pending.push(change(1, 0, ChangeKind::Quarantined(9)));
    assert!(pending.contains(1, 0) && !pending.contains(2, 0));
}

#[test]
fn nested_subtransactions_agree_with_a_stack_of_copies() {
    for seed in 0..200 {
        let mut rng = TestRng(seed);
        let mut pending = PendingAddresses::new();
        let mut next = 1;
        // For each open subtransaction its number, and the free addresses when it began.
        let mut open: Vec<(u32, BTreeSet<u128>)> = vec![(1, BTreeSet::new())];
        let mut free: BTreeSet<u128> = BTreeSet::new();
        for _ in 0..300 {
            let current = open.last().unwrap().0;
            let number = rng.below(8) as u128;
            match rng.below(5) {
                0 => {
                    pending.push(change(current, number, ChangeKind::Released));
                    free.insert(number);
                }
                1 if free.contains(&number) => {
                    pending.push(change(current, number, ChangeKind::Inserted));
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
                _ => pending.push(change(current, 100 + number, ChangeKind::Claimed)),
            }
            assert_eq!(pending.lowest_free(1, &(0..=50)), free.first().copied(), "seed {seed}");
        }
    }
}
