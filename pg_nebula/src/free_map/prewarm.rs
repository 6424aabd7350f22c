//! Reads pages before an allocation has to wait for them: after the start of the server the map may be empty.

use std::sync::atomic::Ordering::SeqCst;

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::keys::pool_key;
use super::{load, shared};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::network;
use crate::pg::error::{Result, sql};
use crate::pg::session::statement_start;
use crate::pg::statement::Statement;
use crate::pools::cache::all_pools_of;
use crate::pools::pool::Pool;
use nebula_core::address::number;
use nebula_core::bitmap_page::PAGE_SHIFT;
use nebula_core::page_table::PageKey;

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn warm_map(pool_id: default!(Option<i32>, "NULL")) -> sql::Result<i64> {
    static POOLS: Statement = Statement::new(
        "SELECT p.project_id, p.pool_id FROM nebula.pool p WHERE p.enabled AND ($1 IS NULL OR p.pool_id = $1)
          ORDER BY p.pool_id",
    );
    join_allocators()?;
    let Some(capacity) = shared::read(|map| map.pages.len()) else { return Ok(0) };
    let mut read = 0;
    for (project, id) in
        POOLS.query(&[pool_id.into()], |row| Ok((row.need::<Uuid>(1)?, row.need::<i32>(2)?)))?
    {
        let pools = all_pools_of(project)?;
        let Some(pool) = pools.iter().find(|pool| pool.id == id) else { continue };
        let is_missing = || shared::read(|map| map.slot(pool_key(pool)).is_none()) == Some(true);
        if pool_id.is_some() || is_missing() {
            read += read_pages(pool, capacity - read)?;
        }
        if read == capacity {
            break;
        }
    }
    Ok(i64::try_from(read).unwrap_or(i64::MAX))
}

/// Reads up to `room` pages of a pool and returns their number.
fn read_pages(pool: &Pool, room: usize) -> Result<usize> {
    static HIGHEST: Statement = Statement::new(
        "SELECT ip FROM nebula.allocation WHERE project_id = $1 AND ip <= $2 ORDER BY ip DESC LIMIT 1",
    );
    let range = pool.network.assignable();
    let (key, first) = (pool_key(pool), range.start() >> PAGE_SHIFT);
    if shared::write(|map| map.add_slot(key, first).is_some()) != Some(true) {
        return Ok(0);
    }
    let last = Inet(pool.network.family().address(*range.end()).to_string());
    let highest = HIGHEST.query_opt(&[pool.project.into(), last.into()], |row| network(&row.need(1)?))?;
    let highest = highest.map_or(0, |highest| number(highest.address));
    let mut read = 0;
    let mut next = pool.assignable_from(*range.start());
    // The page with the highest held address is included: the next allocation needs it.
    while let Some(address) =
        next.filter(|address| read < room && address >> PAGE_SHIFT <= (highest >> PAGE_SHIFT).max(first))
    {
        let page = address >> PAGE_SHIFT;
        let is_current = shared::read(|map| {
            let generation = map.slot(key)?.generation.load(SeqCst);
            Some(map.find(PageKey { pool: key, number: page })?.is_current(generation, statement_start()))
        });
        if is_current.flatten() != Some(true) {
            if !load::load(pool, key, page)? {
                break;
            }
            read += 1;
        }
        next = (page + 1).checked_mul(1 << PAGE_SHIFT).and_then(|start| pool.assignable_from(start));
    }
    Ok(read)
}
