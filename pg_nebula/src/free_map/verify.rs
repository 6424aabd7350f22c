//! Compares the map with the table; part of `check_pool`.
//!
//! A bit that is wrongly clear costs one insert that conflicts. A bit that is wrongly set hides a free
//! address until its page is read again, which may be never.

use std::collections::HashSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::keys::{page_and_bit, pool_key};
use super::pending::with_pending;
use super::{load, scan, shared};
use crate::pg::catalog::join_allocators;
use crate::pg::error::{Result, required, sql};
use crate::pg::session::statement_start;
use crate::pg::statement::Statement;
use crate::pools::cache::all_pools_of;
use crate::pools::pool::Pool;
use nebula_core::bitmap_page::{BITMAP_WORDS, Bitmap, PAGE_SHIFT};
use nebula_core::page_table::{PageKey, PoolKey};

/// Comparisons that must agree. A transaction changes the bits microseconds after its rows become visible, so
/// a single comparison would report transactions that are just ending.
const COMPARISONS: usize = 3;

/// Time between two comparisons.
const COMPARISON_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Discrepancy {
    /// The held bit is set, but there is no row.
    HidesFree,
    /// The claimed bit is set, but the transaction has ended.
    StaleClaim,
    /// The held bit is clear, but there is a row.
    MissesRow,
}

impl Discrepancy {
    /// The columns `problem` and `detail` of `check_pool`.
    fn problem_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::HidesFree => ("map-hides", "free, but marked as held in the map, so it is never assigned"),
            Self::StaleClaim => {
                ("map-claims", "marked as claimed by a transaction that is over, so it is never assigned")
            }
            Self::MissesRow => {
                ("map-misses", "held, but marked as free in the map: costs one insert that conflicts")
            }
        }
    }
}

#[pg_extern(volatile, parallel_restricted)]
#[expect(clippy::type_complexity, reason = "the columns of the answer")]
fn map_differences(
    project_id: Option<Uuid>,
    repair: default!(Option<bool>, "false"),
) -> sql::Result<
    TableIterator<
        'static,
        (
            name!(pool_id, i32),
            name!(ip, Inet),
            name!(problem, &'static str),
            name!(detail, &'static str),
            name!(repaired, bool),
        ),
    >,
> {
    join_allocators()?;
    let repair = repair.unwrap_or(false);
    let mut rows = Vec::new();
    for pool in all_pools_of(required(project_id, "project_id")?)?.iter() {
        let mut differences: Vec<_> = differences(pool)?.into_iter().collect();
        differences.sort_unstable();
        for (number, discrepancy) in differences {
            if repair {
                repair_bit(pool_key(pool), number, discrepancy);
            }
            let (problem, detail) = discrepancy.problem_and_detail();
            let ip = Inet(pool.network.family().address(number).to_string());
            rows.push((pool.id, ip, problem, detail, repair));
        }
    }
    Ok(TableIterator::new(rows))
}

/// Differences that all comparisons found.
fn differences(pool: &Pool) -> Result<HashSet<(u128, Discrepancy)>> {
    load::end_orphans(pool_key(pool));
    let mut agreed = compare_pages(pool)?;
    let mut quiet = true;
    for _ in 1..COMPARISONS {
        if agreed.is_empty() {
            break;
        }
        quiet &= no_other_allocates()?;
        sleep(COMPARISON_INTERVAL);
        let again = compare_pages(pool)?;
        agreed.retain(|difference| again.contains(difference));
    }
    quiet &= agreed.is_empty() || no_other_allocates()?;
    agreed.retain(|(number, discrepancy)| {
        (quiet || *discrepancy != Discrepancy::StaleClaim)
            && !with_pending(|pending| pending.contains(pool.id, *number))
    });
    Ok(agreed)
}

/// Compares all pages in memory, except those that are out of date and read again before their next use.
fn compare_pages(pool: &Pool) -> Result<HashSet<(u128, Discrepancy)>> {
    let mut found = HashSet::new();
    let key = pool_key(pool);
    let pages = shared::read(|map| map.keys().filter(|page| page.pool == key).collect::<Vec<_>>());
    for page in pages.into_iter().flatten() {
        let bits = shared::read(|map| {
            let generation = map.slot(key)?.generation.load(SeqCst);
            map.find(page)
                .filter(|page| page.is_current(generation, statement_start()))
                .map(nebula_core::bitmap_page::Page::bits)
        });
        if let Some((held, claimed)) = bits.flatten() {
            compare_page(pool, page, &held, &claimed, &mut found)?;
        }
    }
    Ok(found)
}

fn compare_page(
    pool: &Pool,
    page: PageKey,
    held: &Bitmap,
    claimed: &Bitmap,
    found: &mut HashSet<(u128, Discrepancy)>,
) -> Result<()> {
    let mut reserved: Bitmap = [0; BITMAP_WORDS];
    load::set_reserved_bits(pool, page.number, &mut reserved);
    // For a row whose quarantine is over both bits are right until the address is assigned again. So `rows`
    // has it, for bits that are set, and `held_now` has not, for bits that are clear.
    let mut rows: Bitmap = [0; BITMAP_WORDS];
    scan::read(pool, page.number, &(0..BITMAP_WORDS), i64::MIN, &mut rows)?;
    let mut held_now: Bitmap = [0; BITMAP_WORDS];
    scan::read(pool, page.number, &(0..BITMAP_WORDS), statement_start(), &mut held_now)?;
    for word in 0..BITMAP_WORDS {
        let differences = [
            (held[word] & !rows[word] & !reserved[word], Discrepancy::HidesFree),
            (claimed[word] & !rows[word], Discrepancy::StaleClaim),
            (held_now[word] & !held[word] & !claimed[word] & !reserved[word], Discrepancy::MissesRow),
        ];
        for (mut bits, discrepancy) in differences {
            while bits != 0 {
                let bit = word as u128 * 64 + u128::from(bits.trailing_zeros());
                found.insert((page.number << PAGE_SHIFT | bit, discrepancy));
                bits &= bits - 1;
            }
        }
    }
    Ok(())
}

/// Whether no other session is in a transaction that has allocated or released: those hold a lock on the
/// table.
fn no_other_allocates() -> Result<bool> {
    static OTHERS: Statement = Statement::new(
        "SELECT FROM pg_catalog.pg_locks l
          WHERE l.locktype = 'relation' AND l.relation = 'nebula.allocation'::regclass
            AND l.pid <> pg_backend_pid()
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
              WHERE d.datname = current_database())",
    );
    OTHERS.exists(&[]).map(|hits| !hits)
}

fn repair_bit(pool: PoolKey, number: u128, discrepancy: Discrepancy) {
    let (key, bit) = page_and_bit(pool, number);
    shared::read(|map| {
        let (Some(slot), Some(page)) = (map.slot(pool), map.find(key)) else { return };
        if discrepancy == Discrepancy::StaleClaim {
            page.unclaim(bit);
            slot.in_flight.fetch_sub(1, SeqCst);
        } else {
            page.invalidate();
        }
        slot.mark_free(key.number);
    });
}

/// Makes the map wrong, for tests of the verification.
#[cfg(feature = "pg_test")]
pub(crate) fn corrupt(pool: &Pool, address: std::net::IpAddr, problem: &str) {
    let (key, bit) = page_and_bit(pool_key(pool), nebula_core::address::number(address));
    shared::read(|map| {
        let (Some(slot), Some(page)) = (map.slot(key.pool), map.find(key)) else { return };
        match problem {
            "map-hides" => page.set_held(bit),
            "map-claims" => {
                assert!(page.claim(bit), "claimed already");
                slot.in_flight.fetch_add(1, SeqCst);
            }
            _ => page.clear_held(bit),
        }
    });
}
