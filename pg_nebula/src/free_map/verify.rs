//! The map against the rows: part of `check_pool`.
//!
//! A bit that is wrongly clear costs somebody one insert that conflicts. One that is wrongly set hides a free address
//! until its page is read again, which may be never.

use crate::pg::catalog::join_allocators;
use std::collections::HashSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::pending::with_pending;
use super::{apply, load, pool_key, scan, shared};
use crate::pg::error::{Result, required, sql};
use crate::pg::session::statement_start;
use crate::pg::statement::Statement;
use crate::pools::cache::pools_of;
use crate::pools::pool::Pool;
use nebula_core::bitmap_page::{BITMAP_WORDS, Bitmap, PAGE_SHIFT};
use nebula_core::page_table::{PageKey, PoolKey};

/// Looks that must agree: bits follow the end of a transaction within microseconds, and one that ended just now is no
/// difference.
const LOOKS: usize = 3;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Problem {
    /// Held by no row, but the bit is set.
    Hidden,
    /// Claimed, but no transaction is there that could.
    Lost,
    /// Held by a row, but the bit is clear.
    Missed,
}

impl Problem {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Hidden => ("map-hides", "free, but the map says held: nobody is given it"),
            Self::Lost => {
                ("map-claims", "claimed in the map by a transaction that is over: nobody is given it")
            }
            Self::Missed => ("map-misses", "held, but the map says free: costs one insert that conflicts"),
        }
    }
}

/// Where the pages in shared memory differ from the rows of a project, and with `repair` has those pages read anew.
///
/// What transactions in flight have done is no difference. Nothing without preload. Errors: P0002 no such project.
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
    let mut found = Vec::new();
    for pool in pools_of(required(project_id, "project_id")?, None)?.iter() {
        let mut differences: Vec<_> = differences(pool)?.into_iter().collect();
        differences.sort_unstable();
        for (number, problem) in differences {
            if repair {
                repair_bit(pool_key(pool), number, problem);
            }
            let (problem, detail) = problem.words();
            let ip = Inet(pool.network.family().address(number).to_string());
            found.push((pool.id, ip, problem, detail, repair));
        }
    }
    Ok(TableIterator::new(found))
}

/// What several looks agree on.
fn differences(pool: &Pool) -> Result<HashSet<(u128, Problem)>> {
    load::look_after(pool_key(pool));
    let mut agreed = look(pool)?;
    let mut quiet = true;
    for _ in 1..LOOKS {
        if agreed.is_empty() {
            break;
        }
        quiet &= nobody_allocates()?;
        sleep(PAUSE);
        let again = look(pool)?;
        agreed.retain(|difference| again.contains(difference));
    }
    quiet &= agreed.is_empty() || nobody_allocates()?;
    agreed.retain(|(number, problem)| {
        (quiet || *problem != Problem::Lost) && !with_pending(|pending| pending.contains(pool.id, *number))
    });
    Ok(agreed)
}

/// Compares each page in memory, except those that are read anew before they are used.
fn look(pool: &Pool) -> Result<HashSet<(u128, Problem)>> {
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
            compare(pool, page, &held, &claimed, &mut found)?;
        }
    }
    Ok(found)
}

fn compare(
    pool: &Pool,
    page: PageKey,
    held: &Bitmap,
    claimed: &Bitmap,
    found: &mut HashSet<(u128, Problem)>,
) -> Result<()> {
    let mut kept: Bitmap = [0; BITMAP_WORDS];
    load::reserve(pool, page.number, &mut kept);
    // Rows whose quarantine is over may be marked or not: until they are used again, either is right.
    let mut rows: Bitmap = [0; BITMAP_WORDS];
    scan::read(pool, page.number, &(0..BITMAP_WORDS), i64::MIN, &mut rows)?;
    let mut held_now: Bitmap = [0; BITMAP_WORDS];
    scan::read(pool, page.number, &(0..BITMAP_WORDS), statement_start(), &mut held_now)?;
    for word in 0..BITMAP_WORDS {
        let problems = [
            (held[word] & !rows[word] & !kept[word], Problem::Hidden),
            (claimed[word] & !rows[word], Problem::Lost),
            (held_now[word] & !held[word] & !claimed[word] & !kept[word], Problem::Missed),
        ];
        for (mut bits, problem) in problems {
            while bits != 0 {
                let bit = word as u128 * 64 + u128::from(bits.trailing_zeros());
                found.insert((page.number << PAGE_SHIFT | bit, problem));
                bits &= bits - 1;
            }
        }
    }
    Ok(())
}

/// Whether no other session is inside a transaction that allocates or releases: each holds this lock to its end.
fn nobody_allocates() -> Result<bool> {
    static OTHERS: Statement = Statement::new(
        "SELECT FROM pg_catalog.pg_locks l
          WHERE l.locktype = 'relation' AND l.relation = 'nebula.allocation'::regclass AND l.pid <> pg_backend_pid()
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())",
    );
    OTHERS.exists(&[]).map(|hits| !hits)
}

fn repair_bit(pool: PoolKey, number: u128, problem: Problem) {
    let (key, bit) = apply::place(pool, number);
    shared::read(|map| {
        let (Some(slot), Some(page)) = (map.slot(pool), map.find(key)) else { return };
        if problem == Problem::Lost {
            page.unclaim(bit);
            slot.in_flight.fetch_sub(1, SeqCst);
        } else {
            page.invalidate();
        }
        slot.mark_free(key.number);
    });
}

/// Breaks the map on purpose.
#[cfg(feature = "pg_test")]
pub(crate) fn corrupt(pool: &Pool, address: std::net::IpAddr, problem: &str) {
    let (key, bit) = apply::place(pool_key(pool), nebula_core::address::number(address));
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
