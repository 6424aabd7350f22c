use super::*;
use crate::model::{Arc, explore, thread};

/// A page whose only free addresses are these.
fn page_with_free(bits: &[u16]) -> Arc<Page> {
    let page = Page::empty();
    for held in &page.held {
        held.store(u64::MAX, SeqCst);
    }
    for bit in bits {
        let (word, mask) = word_and_mask(*bit);
        page.held[word].fetch_and(!mask, SeqCst);
    }
    Arc::new(*page)
}

fn spawn<T: 'static>(page: &Arc<Page>, act: impl FnOnce(&Page) -> T + 'static) -> thread::JoinHandle<T> {
    let page = Arc::clone(page);
    thread::spawn(move || act(&page))
}

#[test]
fn model_two_searches_claim_different_addresses() {
    for free in [&[3][..], &[3, 40]] {
        explore(move || {
            let page = page_with_free(free);
            let other = spawn(&page, Page::claim_lowest);
            let mut claimed: Vec<u16> = page.claim_lowest().into_iter().collect();
            claimed.extend(other.join().expect("a claim"));
            claimed.sort_unstable();
            assert_eq!(claimed, free);
            assert_eq!(page.claims() as usize, free.len());
        });
    }
}

#[test]
fn model_an_address_is_never_free_between_its_claim_and_its_commit() {
    explore(|| {
        let page = page_with_free(&[3]);
        assert!(page.claim(3));
        let commit = spawn(&page, |page| page.set_held(3));
        let (had_room, found) = (page.has_room(), page.claim_lowest());
        commit.join().expect("a commit");
        assert_eq!((had_room, found), (false, None));
        assert_eq!((page.claim_lowest(), page.claims()), (None, 0));
    });
}

#[test]
fn model_an_address_that_another_search_claims_and_commits_is_not_claimed_again() {
    explore(|| {
        let page = page_with_free(&[3]);
        let claim_and_commit = spawn(&page, |page| {
            let claimed = page.claim_lowest();
            claimed.into_iter().for_each(|bit| page.set_held(bit));
            claimed
        });
        let other = page.claim_lowest();
        let claimed = claim_and_commit.join().expect("a claim");
        assert!(other.is_none() || claimed.is_none(), "claimed twice");
    });
}

/// Address 3 is taken; `release` runs beside a search. One of the two searches must find it.
fn assert_release_is_found(prepare: fn(&Page), release: fn(&Page)) {
    explore(move || {
        let page = page_with_free(&[3]);
        prepare(&page);
        let releasing = spawn(&page, release);
        let found = page.claim_lowest();
        releasing.join().expect("a release");
        assert_eq!(found.or_else(|| page.claim_lowest()), Some(3));
    });
}

#[test]
fn model_a_search_does_not_hide_an_address_that_is_released_meanwhile() {
    assert_release_is_found(|page| page.set_held(3), |page| page.clear_held(3));
}

#[test]
fn model_a_search_does_not_hide_an_address_whose_claim_ends_meanwhile() {
    assert_release_is_found(|page| assert!(page.claim(3)), |page| page.unclaim(3));
}

/// Loads the first word from `rows` until nothing has changed meanwhile. The caller has called `begin_load`:
/// that needs the exclusive lock of the map, so nothing else runs at that moment.
fn load(page: &Page, rows: &AtomicU64) {
    loop {
        let mut words = [u64::MAX; BITMAP_WORDS];
        words[0] = rows.load(SeqCst);
        if page.store_loaded(&words, 0..1).is_none() {
            break;
        }
    }
    page.finish_load(1, i64::MAX);
}

#[test]
fn model_a_load_does_not_hide_an_address_that_is_released_meanwhile() {
    explore(|| {
        let (page, rows) = (page_with_free(&[]), Arc::new(AtomicU64::new(u64::MAX)));
        let table = Arc::clone(&rows);
        page.begin_load();
        let release = spawn(&page, move |page| {
            table.fetch_and(!(1 << 3), SeqCst);
            page.clear_held(3);
        });
        load(&page, &rows);
        release.join().expect("a release");
        assert_eq!(page.claim_lowest(), Some(3));
    });
}

#[test]
fn model_a_load_does_not_hide_an_address_whose_insert_is_rolled_back_meanwhile() {
    explore(|| {
        let (page, rows) = (page_with_free(&[3]), Arc::new(AtomicU64::new(u64::MAX)));
        assert!(page.claim(3));
        let table = Arc::clone(&rows);
        page.begin_load();
        let rollback = spawn(&page, move |page| {
            table.fetch_and(!(1 << 3), SeqCst);
            page.unclaim(3);
        });
        load(&page, &rows);
        rollback.join().expect("a rollback");
        assert_eq!(page.claim_lowest(), Some(3));
    });
}

#[test]
fn model_a_load_keeps_claims_that_are_made_meanwhile() {
    explore(|| {
        let (page, rows) = (page_with_free(&[3]), Arc::new(AtomicU64::new(!(1 << 3))));
        page.begin_load();
        let search = spawn(&page, Page::claim_lowest);
        load(&page, &rows);
        assert_eq!(search.join().expect("a search"), Some(3));
        assert_eq!((page.claim_lowest(), page.claims()), (None, 1));
    });
}
