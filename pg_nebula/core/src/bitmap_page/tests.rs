use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use super::*;

const SIZE: usize = BITMAP_WORDS * 64;

/// Zeroed memory, as the server gives it.
pub(crate) fn blank() -> Box<Page> {
    let zeroes = || std::array::from_fn(|_| AtomicU64::new(0));
    Box::new(Page {
        next: AtomicU32::new(0),
        used: AtomicU32::new(0),
        key: std::array::from_fn(|_| AtomicU64::new(0)),
        loaded: AtomicU64::new(0),
        expires: AtomicI64::new(0),
        claims: AtomicU32::new(0),
        touched: std::array::from_fn(|_| AtomicU64::new(0)),
        full: std::array::from_fn(|_| AtomicU64::new(0)),
        held: std::array::from_fn(|_| AtomicU64::new(0)),
        claimed: zeroes(),
    })
}

/// Numbers that look random, the same in every run of a seed.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

#[test]
fn fills_from_the_lowest_to_the_last_and_then_says_so() {
    let page = blank();
    for expected in 0..SIZE {
        assert_eq!(page.claim_lowest(), Some(expected as u16));
    }
    assert_eq!(page.claim_lowest(), None);
    assert!(!page.has_room());
    assert_eq!(page.claims() as usize, SIZE);
    page.unclaim(31_000);
    page.set_held(500);
    page.clear_held(500);
    assert!(page.has_room());
    assert_eq!(page.claim_lowest(), Some(500));
    assert_eq!(page.claim_lowest(), Some(31_000));
    assert_eq!(page.claim_lowest(), None);
}

/// Every operation, against sets of numbers.
#[test]
fn agrees_with_a_model() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let page = blank();
        let (mut held, mut claimed) = (BTreeSet::new(), BTreeSet::new());
        // Few addresses at the edges of words, so that operations meet.
        let span = [64, 65, 130, 4096][seed as usize % 4];
        for bit in span..SIZE {
            page.set_held(bit as u16);
        }
        for _ in 0..4000 {
            let bit = dice.roll(span);
            match dice.roll(6) {
                0 | 1 => {
                    let lowest = (0..span).find(|b| !held.contains(b) && !claimed.contains(b));
                    assert_eq!(page.claim_lowest().map(usize::from), lowest);
                    claimed.extend(lowest);
                }
                2 => assert_eq!(page.claim(bit as u16), claimed.insert(bit)),
                3 => {
                    page.unclaim(bit as u16);
                    claimed.remove(&bit);
                }
                4 => {
                    page.set_held(bit as u16);
                    claimed.remove(&bit);
                    held.insert(bit);
                }
                _ => {
                    page.clear_held(bit as u16);
                    held.remove(&bit);
                }
            }
            assert_eq!(page.claims() as usize, claimed.len());
        }
    }
}

/// A release that commits between the reading of the table and its publication must not be lost.
#[test]
fn what_is_given_back_while_the_table_is_read_is_read_again() {
    let page = blank();
    page.begin_load();
    let mut words = [0; BITMAP_WORDS];
    words[3] = u64::MAX;
    words[9] = u64::MAX;
    page.clear_held(3 * 64 + 7);
    page.clear_held(9 * 64);
    let again = page.store_loaded(&words, 0..BITMAP_WORDS).unwrap();
    assert_eq!(again, 3..10);
    words[3] &= !(1 << 7);
    words[9] &= !1;
    assert_eq!(page.store_loaded(&words, again), None);
    page.finish_load(7, 1000);
    assert!(page.is_current(7, 999));
    assert!(!page.is_current(7, 1000), "a quarantine has ended");
    assert!(!page.is_current(8, 0), "another generation");
    page.claim_lowest();
    page.invalidate();
    assert!(!page.is_current(7, 0));
}

#[test]
fn claims_outlive_a_reading() {
    let page = blank();
    assert_eq!(page.claim_lowest(), Some(0));
    page.begin_load();
    page.store_loaded(&[0; BITMAP_WORDS], 0..BITMAP_WORDS);
    page.finish_load(1, i64::MAX);
    assert_eq!(page.claim_lowest(), Some(1));
}

/// Threads claim, give up, hold and give back; nobody ever has what another has, and nothing is lost in the end.
/// A row in flight is read while its claim stands; then it is rolled back.
#[test]
fn a_claim_that_comes_to_nothing_leaves_nothing_though_its_row_was_read() {
    let page = blank();
    assert!(page.claim(5) && page.claim(70));
    let mut words = [0; BITMAP_WORDS];
    (words[0], words[1]) = (1 << 5 | 1 << 6, 1 << 6);
    page.begin_load();
    assert_eq!(page.store_loaded(&words, 0..BITMAP_WORDS), None);
    page.finish_load(1, i64::MAX);
    page.unclaim(5);
    page.set_held(70);
    let (held, claimed) = page.bits();
    assert_eq!((held[0], held[1], claimed), (1 << 6, 1 << 6, [0; BITMAP_WORDS]));
}

#[test]
fn threads_never_claim_the_same_and_lose_nothing() {
    const SPAN: usize = 256;
    let page = blank();
    for bit in SPAN..SIZE {
        page.set_held(bit as u16);
    }
    let owners: Vec<AtomicUsize> = (0..SPAN).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (page, owners) = (&page, &owners);
            scope.spawn(move || {
                let mut dice = Dice(thread as u64);
                let mut mine = Vec::new();
                let release = |(bit, held): (u16, bool)| {
                    owners[usize::from(bit)].store(0, SeqCst);
                    if held { page.clear_held(bit) } else { page.unclaim(bit) }
                };
                for _ in 0..20_000 {
                    if mine.len() < SPAN / 4 && dice.roll(2) == 0 {
                        let Some(bit) = page.claim_lowest() else { continue };
                        assert_eq!(owners[usize::from(bit)].swap(thread, SeqCst), 0, "claimed twice");
                        let held = dice.roll(2) == 0;
                        mine.push((bit, held));
                        if held {
                            page.set_held(bit);
                        }
                    } else if !mine.is_empty() {
                        release(mine.swap_remove(dice.roll(mine.len())));
                    }
                }
                mine.into_iter().for_each(release);
            });
        }
    });
    for expected in 0..SPAN {
        assert_eq!(page.claim_lowest(), Some(expected as u16), "no free address is hidden");
    }
    assert_eq!(page.claim_lowest(), None);
}
