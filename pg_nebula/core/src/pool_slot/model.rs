use super::*;
use crate::bitmap_page::BITMAP_WORDS;
use crate::model::{Arc, explore, explore_with, thread};

/// When the quarantine in the page ends.
const EXPIRES: i64 = 50;

/// A pool of one page without a free address.
struct Pool {
    slot: PoolSlot,
    page: Page,
}

impl Pool {
    fn new() -> Arc<Self> {
        let (slot, page) = (PoolSlot::default(), Page::empty());
        slot.assign(PoolKey { database: 5, pool: 1 }, 0, 1);
        page.begin_load();
        page.store_loaded(&[u64::MAX; BITMAP_WORDS], 0..BITMAP_WORDS);
        page.finish_load(1, EXPIRES);
        Arc::new(Self { slot, page: *page })
    }

    /// One step of a search before the quarantine ends: claims an address, or moves the hint.
    fn search(&self) {
        let usable = self.slot.hint() == 0 && self.page.is_current(1, EXPIRES - 1);
        if usable && self.page.claim_lowest().is_none() {
            self.slot.advance(0, &self.page);
        }
    }

    fn release(&self, bit: u16) {
        self.page.clear_held(bit);
        self.slot.mark_free(0);
    }

    fn assert_nothing_lost(&self) {
        assert!(self.slot.hint() == 0 || !self.page.has_room(), "the hint is above a page with room");
    }
}

fn spawn(pool: &Arc<Pool>, act: impl FnOnce(&Pool) + 'static) -> thread::JoinHandle<()> {
    let pool = Arc::clone(pool);
    thread::spawn(move || act(&pool))
}

#[test]
fn model_a_search_that_moves_the_hint_loses_no_release() {
    explore(|| {
        let pool = Pool::new();
        let release = spawn(&pool, |pool| pool.release(3));
        pool.search();
        release.join().expect("a release");
        pool.assert_nothing_lost();
    });
}

/// One of the searches has set the summary and looks again while the other moves the hint. That takes four
/// preemptions.
#[test]
fn model_two_searches_lose_neither_of_two_releases() {
    explore_with(4, || {
        let pool = Pool::new();
        let release = |pool: &Pool| {
            pool.page.clear_held(3);
            pool.release(4);
        };
        let threads = [spawn(&pool, Pool::search), spawn(&pool, Pool::search), spawn(&pool, release)];
        threads.into_iter().for_each(|thread| thread.join().expect("no assertion inside"));
        pool.assert_nothing_lost();
    });
}

#[test]
fn model_a_search_does_not_pass_a_page_that_is_invalidated_meanwhile() {
    explore(|| {
        let pool = Pool::new();
        let invalidation = spawn(&pool, |pool| pool.slot.invalidate(2));
        pool.search();
        invalidation.join().expect("an invalidation");
        assert_eq!(pool.slot.hint(), 0);
    });
}

#[test]
fn model_the_end_of_a_quarantine_is_not_lost_while_the_hint_moves() {
    explore(|| {
        let pool = Pool::new();
        pool.slot.expires.fetch_min(EXPIRES, SeqCst);
        let rewind = spawn(&pool, |pool| pool.slot.rewind_if_expired(EXPIRES));
        pool.search();
        rewind.join().expect("a rewind");
        pool.slot.rewind_if_expired(EXPIRES);
        assert_eq!(pool.slot.hint(), 0);
    });
}

#[test]
fn model_a_search_does_not_pass_a_page_that_is_loaded_meanwhile() {
    explore(|| {
        let pool = Pool::new();
        let load = spawn(&pool, |pool| {
            pool.page.begin_load();
            let mut words = [u64::MAX; BITMAP_WORDS];
            words[0] = !(1 << 3);
            pool.page.store_loaded(&words, 0..BITMAP_WORDS);
            pool.page.finish_load(1, i64::MAX);
            pool.slot.lower_hint(0);
        });
        pool.search();
        load.join().expect("a load");
        pool.assert_nothing_lost();
    });
}
