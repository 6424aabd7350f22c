use super::*;
use crate::bitmap_page::BITMAP_WORDS;
use crate::model::{Arc, explore, thread};
use crate::page_table::memory::Memory;
use crate::sync::AtomicU64;

const DATABASE: u32 = 5;
const POOL: PoolKey = PoolKey { database: DATABASE, pool: 1 };
const PAGE: PageKey = PageKey { pool: POOL, number: 0 };
const ADDRESS: u128 = 3;
const BIT: u16 = 3;

/// A pool of one page, whose only free address is [`ADDRESS`].
struct Pool {
    memory: Memory,
    /// Rows of the first word: what a load reads, committed or not.
    rows: AtomicU64,
    /// 1 while other sessions see the row of the address.
    visible: AtomicU64,
}

impl Pool {
    fn new() -> Arc<Self> {
        let memory = Memory::new(1);
        memory.map().add_slot(POOL, 0).expect("an empty map");
        let pool = Self { memory, rows: AtomicU64::new(!(1 << BIT)), visible: AtomicU64::new(0) };
        pool.begin_load();
        pool.load();
        Arc::new(pool)
    }

    /// Needs the exclusive lock of the map, so nothing else runs at that moment.
    fn begin_load(&self) {
        self.memory.map().add(PAGE).expect("a map for one page").begin_load();
    }

    fn load(&self) {
        loop {
            let mut words = [u64::MAX; BITMAP_WORDS];
            words[0] = self.rows.load(SeqCst);
            if self.page(|page, _| page.store_loaded(&words, 0..1)).is_none() {
                break;
            }
        }
        self.page(|page, slot| page.finish_load(slot.generation.load(SeqCst), i64::MAX));
    }

    fn page<T>(&self, act: impl FnOnce(&Page, &PoolSlot) -> T) -> T {
        let map = self.memory.map();
        act(map.find(PAGE).expect("loaded"), map.slot(POOL).expect("added"))
    }

    fn claim(&self) {
        self.page(|page, slot| {
            assert!(page.claim(BIT));
            slot.in_flight.fetch_add(1, SeqCst);
        });
    }

    fn insert(&self) {
        self.rows.fetch_or(1 << BIT, SeqCst);
    }

    fn commit(&self) {
        let changes = [change(ChangeKind::Claimed), change(ChangeKind::Inserted)];
        before_commit(&self.memory.map(), DATABASE, &changes);
        self.visible.store(1, SeqCst);
        committed(&self.memory.map(), DATABASE, &changes);
    }

    /// The server refuses the commit after all.
    fn fail_to_commit(&self) {
        let changes = [change(ChangeKind::Claimed), change(ChangeKind::Inserted)];
        before_commit(&self.memory.map(), DATABASE, &changes);
        self.rows.fetch_and(!(1 << BIT), SeqCst);
        rolled_back(&self.memory.map(), DATABASE, &changes);
    }

    /// Deletes the row if there is one to be seen.
    fn release(&self) {
        if self.visible.swap(0, SeqCst) == 1 {
            self.rows.fetch_and(!(1 << BIT), SeqCst);
            committed(&self.memory.map(), DATABASE, &[change(ChangeKind::Released)]);
        }
    }

    /// One step of a search that finds no free address, or does not keep it.
    fn search(&self) {
        self.page(|page, slot| match page.claim_lowest() {
            Some(bit) => page.unclaim(bit),
            None => slot.advance(0, page),
        });
    }

    /// Searches find the address exactly if it has no row.
    fn assert_map_is_right(&self) {
        self.page(|page, slot| {
            let is_free = self.rows.load(SeqCst) >> BIT & 1 == 0;
            assert_eq!(page.claims(), 0, "claims of transactions that are over");
            assert!(!is_free || slot.hint() == 0, "the hint is above a page with room");
            assert_eq!(page.claim_lowest(), is_free.then_some(BIT));
        });
    }
}

fn change(kind: ChangeKind) -> Change {
    Change { subtransaction: 1, pool: POOL.pool, number: ADDRESS, kind }
}

fn spawn(pool: &Arc<Pool>, act: impl FnOnce(&Pool) + 'static) -> thread::JoinHandle<()> {
    let pool = Arc::clone(pool);
    thread::spawn(move || act(&pool))
}

/// The address is claimed and its row inserted; then all of these run at once.
fn explore_end(acts: &'static [fn(&Pool)]) {
    explore(move || {
        let pool = Pool::new();
        pool.claim();
        pool.insert();
        let (first, others) = acts.split_first().expect("an act");
        let threads: Vec<_> = others.iter().map(|act| spawn(&pool, act)).collect();
        first(&pool);
        threads.into_iter().for_each(|thread| thread.join().expect("no assertion inside"));
        pool.assert_map_is_right();
    });
}

#[test]
fn model_a_release_that_overtakes_the_end_of_its_commit_hides_no_address() {
    explore_end(&[Pool::commit, Pool::release]);
}

#[test]
fn model_a_search_beside_a_commit_and_a_release_hides_no_address() {
    explore_end(&[Pool::commit, |pool| {
        pool.search();
        pool.release();
        pool.search();
    }]);
}

#[test]
fn model_a_load_beside_a_commit_neither_hides_nor_misses_its_row() {
    explore_end(&[Pool::commit, |pool| {
        pool.begin_load();
        pool.load();
    }]);
}

#[test]
fn model_a_commit_that_fails_hides_no_address() {
    explore_end(&[Pool::fail_to_commit, |pool| {
        pool.begin_load();
        pool.load();
    }]);
}

#[test]
fn model_a_row_that_is_released_while_a_session_finds_it_is_not_marked_as_held() {
    explore(|| {
        let pool = Pool::new();
        // A row inserted by hand, which the map does not show.
        pool.insert();
        pool.visible.store(1, SeqCst);
        pool.claim();
        let release = spawn(&pool, Pool::release);
        let releases = pool.page(|_, slot| slot.releases.load(SeqCst));
        if pool.rows.load(SeqCst) >> BIT & 1 == 1 {
            pool.page(|page, slot| hold_found_row(page, BIT, slot, PAGE.number, releases));
        } else {
            release_claim(&pool.memory.map(), POOL, ADDRESS);
        }
        release.join().expect("a release");
        pool.assert_map_is_right();
    });
}
