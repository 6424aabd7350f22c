//! Contents and counters of the map.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

use pgrx::prelude::*;

use super::shared;
use crate::pg::session::database;

/// Counters of one pool, or of all pools together.
struct PoolCounters {
    pool: Option<i32>,
    pages: i64,
    counts: [i64; 5],
}

#[pg_extern(volatile, parallel_restricted)]
#[expect(clippy::type_complexity, reason = "the columns of the answer")]
fn map_status() -> TableIterator<
    'static,
    (
        name!(pool_id, Option<i32>),
        name!(pages, i64),
        name!(in_flight, i64),
        name!(hits, i64),
        name!(conflicts, i64),
        name!(rebuilds, i64),
        name!(waits, i64),
        name!(evictions, Option<i64>),
        name!(capacity, Option<i64>),
    ),
> {
    let seen = shared::read(|map| {
        let mut pages: HashMap<i32, i64> = HashMap::new();
        let mut all = 0;
        for key in map.keys() {
            all += 1;
            if key.pool.database == database() {
                *pages.entry(key.pool.pool).or_default() += 1;
            }
        }
        let rows: Vec<PoolCounters> = map
            .slots_of(database())
            .map(|(pool, slot)| {
                let count = |counter: &std::sync::atomic::AtomicU64| counter.load(SeqCst).cast_signed();
                let counts = [
                    slot.in_flight.load(SeqCst),
                    count(&slot.hits),
                    count(&slot.conflicts),
                    count(&slot.rebuilds),
                    count(&slot.waits),
                ];
                PoolCounters { pool: Some(pool), pages: pages.get(&pool).copied().unwrap_or(0), counts }
            })
            .collect();
        (all, rows, map.header.evictions.load(SeqCst).cast_signed(), map.pages.len() as i64)
    });
    let Some((all, mut rows, evictions, capacity)) = seen else { return TableIterator::empty() };
    rows.sort_by_key(|row| row.pool);
    let mut sums = [0_i64; 5];
    for row in &rows {
        for (sum, count) in sums.iter_mut().zip(row.counts) {
            *sum += count;
        }
    }
    rows.insert(0, PoolCounters { pool: None, pages: all, counts: sums });
    TableIterator::new(rows.into_iter().map(move |row| {
        let [in_flight, hits, conflicts, rebuilds, waits] = row.counts;
        let server = row.pool.is_none();
        let of_server = |value| server.then_some(value);
        (
            row.pool,
            row.pages,
            in_flight,
            hits,
            conflicts,
            rebuilds,
            waits,
            of_server(evictions),
            of_server(capacity),
        )
    }))
}
