//! Ranges kept for groups of devices: their devices take from them first.
//!
//! They are small, so the rows themselves are searched and the map knows nothing of them.

use std::net::IpAddr;

use super::request::{Request, holding};
use super::take::{expire, insert};
use super::usage_threshold;
use crate::free_map::lowest_free_range;
use crate::free_map::mark;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::Statement;
use crate::pools::pool::{Kept, Pool};
use nebula_core::address::number;

/// The lowest free address of the ranges that are for this device; `None` when there is none, or the device got an
/// address from another session meanwhile.
pub(super) fn take(request: &Request<'_>, pools: &[Pool]) -> Result<Option<IpAddr>> {
    if pools.iter().all(|pool| pool.kept.iter().all(|kept| !kept.given)) {
        return no_such_range(request);
    }
    let labels = labels(request)?;
    let mut named = false;
    for pool in pools.iter().filter(|pool| pool.enabled) {
        for kept in pool.kept.iter().filter(|kept| kept.given && labels.contains(&kept.label)) {
            named = true;
            if let Some(address) = take_within(request, pools, pool, kept)? {
                usage_threshold::look(pool)?;
                return Ok(Some(address));
            }
        }
    }
    if named { Ok(None) } else { no_such_range(request) }
}

/// Whether a requested address lies in a range that is for this device.
pub(super) fn belongs(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    match pool.kept_at(number(address)) {
        Some(kept) if kept.given => Ok(labels(request)?.contains(&kept.label)),
        _ => Ok(false),
    }
}

/// The label asked for, or the groups of the device.
fn labels(request: &Request<'_>) -> Result<Vec<String>> {
    static GROUPS: Statement =
        Statement::new("SELECT unnest(groups) FROM nebula.device WHERE device_id = $1");
    match request.label {
        Some(label) => Ok(vec![label.to_owned()]),
        None => GROUPS.query(&[request.device.into()], |row| row.need(1)),
    }
}

/// A label that names nothing is a typing error; without a label there is nothing to say.
fn no_such_range(request: &Request<'_>) -> Result<Option<IpAddr>> {
    static FIND: Statement =
        Statement::new("SELECT FROM nebula.reservation WHERE project_id = $1 AND label = $2 AND for_group");
    let Some(label) = request.label else { return Ok(None) };
    if FIND.exists(&[request.project.into(), label.into()])? {
        return Ok(None);
    }
    Err(Error::new(
        Kind::Missing,
        format!("project {} has no range \"{label}\"", request.project),
        "List them: SELECT * FROM nebula.reservation_status; or reserve one: SELECT nebula.reserve_range(...).",
    ))
}

fn take_within(request: &Request<'_>, pools: &[Pool], pool: &Pool, kept: &Kept) -> Result<Option<IpAddr>> {
    let family = pool.network.family();
    let hold = |n: u128| -> Result<Option<IpAddr>> {
        let address = family.address(n);
        let held =
            insert(request, pool, address)? || (expire(pool, address)? && insert(request, pool, address)?);
        Ok(held.then_some(address))
    };
    loop {
        // The lowest address that another transaction is about to hold; it may still roll back.
        let mut busy = None;
        let mut from = Some(*kept.range.start());
        while let Some(start) = from.filter(|from| kept.range.contains(from)) {
            let Some((low, high)) = lowest_free_range(pool.project, family, start, *kept.range.end())? else {
                break;
            };
            let Some(free) = first_unmarked(pool, low, high, &mut busy)? else {
                from = high.checked_add(1);
                continue;
            };
            if let Some(address) = hold(free)? {
                return Ok(Some(address));
            }
            if holding(request, pools)?.is_some() {
                return Ok(None);
            }
            from = free.checked_add(1);
        }
        let Some(busy) = busy else { return Ok(None) };
        // Through the index, so lock_timeout and the deadlock detector see the wait.
        if let Some(address) = hold(busy)? {
            return Ok(Some(address));
        }
        if holding(request, pools)?.is_some() {
            return Ok(None);
        }
    }
}

/// Marks and answers the first address of a gap that no other transaction has marked.
fn first_unmarked(pool: &Pool, low: u128, high: u128, busy: &mut Option<u128>) -> Result<Option<u128>> {
    for n in low..=high {
        if mark(pool, n)? {
            return Ok(Some(n));
        }
        busy.get_or_insert(n);
    }
    Ok(None)
}
