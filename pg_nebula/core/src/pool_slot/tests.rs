use super::*;
use crate::bitmap_page::BITMAP_WORDS;

/// A slot whose pool begins at page 100, at generation 1.
fn slot() -> PoolSlot {
    let slot = PoolSlot::default();
    slot.assign(PoolKey { database: 5, pool: 1 }, 100, 1);
    slot
}

/// A page loaded for generation 1 without a free address, whose first quarantine ends at `expires`.
fn full_page(expires: i64) -> Box<Page> {
    let page = Page::empty();
    page.begin_load();
    page.store_loaded(&[u64::MAX; BITMAP_WORDS], 0..BITMAP_WORDS);
    page.finish_load(1, expires);
    page
}

#[test]
fn keys_survive_packing() {
    for (database, pool) in [(1, 0), (5, -1), (u32::MAX, i32::MIN), (16_384, i32::MAX)] {
        let key = PoolKey { database, pool };
        assert_eq!(PoolKey::unpacked(key.packed()), key);
        assert_ne!(key.packed(), 0, "0 is a free slot");
    }
}

#[test]
fn the_hint_moves_past_full_pages_only() {
    let (slot, page) = (slot(), full_page(i64::MAX));
    slot.advance(0, &page);
    slot.advance(1, &page);
    assert_eq!(slot.hint(), 2);
    slot.advance(0, &page);
    assert_eq!(slot.hint(), 2, "a search that began earlier changes nothing");
    page.clear_held(9);
    slot.advance(2, &page);
    assert_eq!(slot.hint(), 2, "the page has room again");
}

#[test]
fn the_hint_stays_at_a_page_that_became_out_of_date() {
    let (slot, page) = (slot(), full_page(i64::MAX));
    slot.invalidate(2);
    slot.advance(0, &page);
    assert_eq!(slot.hint(), 0);
}

#[test]
fn a_release_lowers_the_hint_to_its_page() {
    let (slot, page) = (slot(), full_page(i64::MAX));
    (0..5).for_each(|number| slot.advance(number, &page));
    let releases = slot.releases.load(SeqCst);
    slot.mark_free(103);
    assert_eq!((slot.hint(), slot.releases.load(SeqCst)), (3, releases + 1));
    slot.mark_free(104);
    assert_eq!(slot.hint(), 3, "a later page does not raise it");
    slot.lower_hint(101);
    assert_eq!((slot.hint(), slot.releases.load(SeqCst)), (1, releases + 2), "a load is no release");
    slot.mark_free(3);
    assert_eq!(slot.hint(), 0, "a page below the pool counts as its first");
}

#[test]
fn reserved_pages_are_skipped_unless_the_hint_has_moved() {
    let slot = slot();
    slot.skip_to(100, 1000);
    assert_eq!(slot.hint(), 900);
    slot.skip_to(100, 2000);
    assert_eq!(slot.hint(), 900);
}

#[test]
fn the_search_begins_anew_once_a_quarantine_behind_the_hint_has_ended() {
    let slot = slot();
    slot.advance(0, &full_page(50));
    slot.rewind_if_expired(49);
    assert_eq!(slot.hint(), 1);
    slot.rewind_if_expired(50);
    assert_eq!(slot.hint(), 0);
    slot.advance(0, &full_page(i64::MAX));
    slot.rewind_if_expired(51);
    assert_eq!(slot.hint(), 1, "once for each quarantine");
}

#[test]
fn skipped_addresses_are_found_again_after_a_while() {
    let slot = slot();
    let first = 100 << PAGE_SHIFT;
    assert_eq!(slot.floor(0), None);
    slot.skip_up_to(first + 7, 50);
    assert_eq!(slot.floor(49), Some(first + 8));
    slot.skip_up_to(first + 3, 60);
    assert_eq!(slot.floor(59), Some(first + 8), "an address below changes nothing but the time");
    assert_eq!(slot.floor(60), None);
    assert_eq!(slot.floor(0), None, "it is over for all");
    slot.skip_up_to(first, 50);
    slot.end_skip();
    assert_eq!(slot.floor(0), None);
}
