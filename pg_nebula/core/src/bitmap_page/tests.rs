use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::test_rng::TestRng;

const SIZE: usize = BITMAP_WORDS * 64;

#[test]
fn addresses_are_claimed_in_ascending_order_until_the_page_is_full() {
    let page = Page::empty();
    for expected in 0..SIZE {
        assert!(page.has_room());
        assert_eq!(page.claim_lowest(), Some(expected as u16));
    }
    assert_eq!(page.claim_lowest(), None);
    assert!(!page.has_room());
    assert_eq!(page.claims() as usize, SIZE);
}

#[test]
fn a_full_page_has_room_again_after_a_release_or_a_rollback() {
    let page = Page::empty();
    while page.claim_lowest().is_some() {}
    page.unclaim(31_000);
    assert!(page.has_room());
    page.set_held(500);
    page.clear_held(500);
    assert_eq!(page.claim_lowest(), Some(500));
    assert_eq!(page.claim_lowest(), Some(31_000));
    assert_eq!(page.claim_lowest(), None);
}

#[test]
fn every_operation_agrees_with_sets_of_numbers() {
    for seed in 0..40 {
        let mut rng = TestRng(seed);
        let page = Page::empty();
        let (mut held, mut claimed) = (BTreeSet::new(), BTreeSet::new());
        // Few addresses around the edges of words, so that operations hit the same ones.
        let span = [64, 65, 130, 4096][seed as usize % 4];
        for bit in span..SIZE {
            page.set_held(bit as u16);
        }
        for _ in 0..4000 {
            let bit = rng.below(span);
            match rng.below(6) {
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
            assert_eq!(page.is_claimed(bit as u16), claimed.contains(&bit));
        }
    }
}

/// A load that stores all words and returns those to read again.
fn load(page: &Page, words: &Bitmap) -> Option<Range<usize>> {
    page.begin_load();
    let again = page.store_loaded(words, 0..BITMAP_WORDS);
    page.finish_load(1, i64::MAX);
    again
}

#[test]
fn words_with_releases_during_a_load_are_read_again() {
    let page = Page::empty();
    let mut words = [0; BITMAP_WORDS];
    (words[3], words[9]) = (u64::MAX, u64::MAX);
    page.begin_load();
    page.clear_held(3 * 64 + 7);
    page.clear_held(9 * 64);
    let again = page.store_loaded(&words, 0..BITMAP_WORDS).expect("two words changed");
    assert_eq!(again, 3..10);
    words[3] &= !(1 << 7);
    words[9] &= !1;
    assert_eq!(page.store_loaded(&words, again), None);
    let (held, _) = page.bits();
    assert_eq!((held[3], held[9]), (!(1 << 7), !1));
}

#[test]
fn a_page_is_current_for_its_generation_until_a_quarantine_ends() {
    let page = Page::empty();
    page.begin_load();
    page.finish_load(7, 1000);
    assert!(page.is_current(7, 999));
    assert!(!page.is_current(7, 1000), "a quarantine has ended");
    assert!(!page.is_current(8, 0), "another generation");
    page.expire_at(500);
    assert!(!page.is_current(7, 500), "an earlier quarantine");
    page.begin_load();
    page.finish_load(7, 2000);
    assert!(page.is_current(7, 1999), "a load starts with no quarantine");
    page.invalidate();
    assert!(!page.is_current(7, 0));
}

#[test]
fn a_load_makes_free_addresses_of_full_words_available() {
    let page = Page::empty();
    (0..SIZE).for_each(|bit| page.set_held(bit as u16));
    assert_eq!(page.claim_lowest(), None);
    let mut words = [u64::MAX; BITMAP_WORDS];
    words[77] = !1;
    assert_eq!(load(&page, &words), None);
    assert_eq!(page.claim_lowest(), Some(77 * 64));
}

#[test]
fn a_load_keeps_claims() {
    let page = Page::empty();
    assert_eq!(page.claim_lowest(), Some(0));
    assert_eq!(load(&page, &[0; BITMAP_WORDS]), None);
    assert_eq!(page.claim_lowest(), Some(1));
}

/// The load reads the uncommitted rows of two claims; one is rolled back after that, the other committed.
#[test]
fn a_rollback_leaves_no_bit_although_a_load_read_its_row() {
    let page = Page::empty();
    assert!(page.claim(5) && page.claim(70));
    let mut words = [0; BITMAP_WORDS];
    (words[0], words[1]) = (1 << 5 | 1 << 6, 1 << 6);
    assert_eq!(load(&page, &words), None);
    page.unclaim(5);
    page.set_held(70);
    let (held, claimed) = page.bits();
    assert_eq!((held[0], held[1], claimed), (1 << 6, 1 << 6, [0; BITMAP_WORDS]));
}

#[test]
fn a_load_beside_a_commit_keeps_the_bit_exactly_if_it_read_the_row() {
    let page = Page::empty();
    assert!(page.claim(5) && page.claim(6));
    page.publish(5);
    page.publish(6);
    let mut words = [0; BITMAP_WORDS];
    words[0] = 1 << 5;
    assert_eq!(load(&page, &words), None);
    assert_eq!((page.settle(5), page.settle(6)), (false, true));
    assert_eq!(page.claim_lowest_from(5), Some(6));
}

#[test]
fn a_word_with_a_rollback_during_a_load_is_read_again() {
    let page = Page::empty();
    assert!(page.claim(5));
    let mut words = [0; BITMAP_WORDS];
    words[0] = 1 << 5;
    page.begin_load();
    page.unclaim(5);
    assert_eq!(page.store_loaded(&words, 0..BITMAP_WORDS), Some(0..1));
}

/// Real threads over many addresses; the model tests try every interleaving of a few steps.
#[test]
fn threads_never_claim_the_same_address_and_hide_none() {
    const SPAN: usize = 256;
    let page = Page::empty();
    for bit in SPAN..SIZE {
        page.set_held(bit as u16);
    }
    let owners: Vec<AtomicUsize> = (0..SPAN).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (page, owners) = (&page, &owners);
            scope.spawn(move || {
                let mut rng = TestRng(thread as u64);
                let mut mine = Vec::new();
                let release = |(bit, held): (u16, bool)| {
                    owners[usize::from(bit)].store(0, SeqCst);
                    if held { page.clear_held(bit) } else { page.unclaim(bit) }
                };
                for _ in 0..20_000 {
                    if mine.len() < SPAN / 4 && rng.below(2) == 0 {
                        let Some(bit) = page.claim_lowest() else { continue };
                        assert_eq!(owners[usize::from(bit)].swap(thread, SeqCst), 0, "claimed twice");
                        let held = rng.below(2) == 0;
                        mine.push((bit, held));
                        if held {
                            page.set_held(bit);
                        }
                    } else if !mine.is_empty() {
                        release(mine.swap_remove(rng.below(mine.len())));
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

#[test]
fn a_search_from_an_address_on_finds_none_before_it() {
    let page = Page::empty();
    page.begin_load();
    page.store_loaded(&[0; BITMAP_WORDS], 0..BITMAP_WORDS);
    page.finish_load(1, i64::MAX);
    assert_eq!(page.claim_lowest_from(70), Some(70));
    assert_eq!(page.claim_lowest_from(70), Some(71));
    assert_eq!(page.claim_lowest_from(127), Some(127));
    assert_eq!(page.claim_lowest_from(127), Some(128));
    let last = (BITMAP_WORDS * 64 - 1) as u16;
    assert_eq!(page.claim_lowest_from(last), Some(last));
    assert_eq!(page.claim_lowest_from(last), None);
    assert_eq!(page.claim_lowest(), Some(0), "those before are as free as they were");
}
