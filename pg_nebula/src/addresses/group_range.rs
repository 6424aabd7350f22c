//! Ranges that are reserved for groups of devices, from which those devices take addresses first.
//!
//! The ranges are small, so the table is searched; the free map shows their addresses as held.

use std::net::IpAddr;

use nebula_core::address::number;

use super::request::Request;
use super::{held, store, usage_threshold};
use crate::free_map::{lowest_free_range, try_lock_address};
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::Statement;
use crate::pools::pool::{Pool, Reservation};

/// Assigns the lowest free address of the ranges that are for this device. `None`: there is none, or another
/// session allocated an address to the device meanwhile.
pub(super) fn assign(request: &Request<'_>, pools: &[Pool]) -> Result<Option<IpAddr>> {
    if !pools.iter().any(Pool::has_group_ranges) {
        return check_label(request).map(|()| None);
    }
    let labels = labels(request)?;
    let mut has_range = false;
    for pool in pools.iter().filter(|pool| pool.enabled) {
        for range in pool.reservations.iter().filter(|r| r.for_group && labels.contains(&r.label)) {
            has_range = true;
            if let Some(address) = assign_within(request, pools, pool, range)? {
                usage_threshold::check(pool)?;
                return Ok(Some(address));
            }
        }
    }
    if !has_range {
        check_label(request)?;
    }
    Ok(None)
}

/// Whether a requested address lies in a range that is for this device.
pub(super) fn is_for_device(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    match pool.reservation_at(number(address)) {
        Some(reservation) if reservation.for_group => Ok(labels(request)?.contains(&reservation.label)),
        _ => Ok(false),
    }
}

/// The label of the request, or the groups of the device.
fn labels(request: &Request<'_>) -> Result<Vec<String>> {
    static GROUPS: Statement =
        Statement::new("SELECT unnest(groups) FROM nebula.device WHERE device_id = $1");
    match request.label {
        Some(label) => Ok(vec![label.to_owned()]),
        None => GROUPS.query(&[request.device.into()], |row| row.need(1)),
    }
}

/// Refuses a label that names no range of the project, which is a typing error.
fn check_label(request: &Request<'_>) -> Result<()> {
    static FIND: Statement =
        Statement::new("SELECT FROM nebula.reservation WHERE project_id = $1 AND label = $2 AND for_group");
    let Some(label) = request.label else { return Ok(()) };
    if FIND.exists(&[request.project.into(), label.into()])? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Missing,
        format!("project {} has no range \"{label}\"", request.project),
        "List them: SELECT * FROM nebula.reservation_status; or reserve one: SELECT nebula.reserve_range(...).",
    ))
}

fn assign_within(
    request: &Request<'_>,
    pools: &[Pool],
    pool: &Pool,
    reservation: &Reservation,
) -> Result<Option<IpAddr>> {
    let family = pool.network.family();
    let insert = |n: u128| -> Result<Option<IpAddr>> {
        let address = family.address(n);
        let inserted = store::insert_waiting(request, pool, address)?
            || (store::delete_expired(pool, address)? && store::insert_waiting(request, pool, address)?);
        Ok(inserted.then_some(address))
    };
    loop {
        // An address that another transaction is about to hold, which may roll back.
        let mut lowest_locked = None;
        let mut from = Some(*reservation.range.start());
        while let Some(start) = from.filter(|from| reservation.range.contains(from)) {
            let range = lowest_free_range(pool.project, family, start, *reservation.range.end())?;
            let Some((low, high)) = range else { break };
            let Some(free) = lock_first(pool, low, high, &mut lowest_locked) else {
                from = high.checked_add(1);
                continue;
            };
            if let Some(address) = insert(free)? {
                return Ok(Some(address));
            }
            if held::find(request, pools)?.is_some() {
                return Ok(None);
            }
            from = free.checked_add(1);
        }
        let Some(locked) = lowest_locked else { return Ok(None) };
        // Waits at the unique index, where lock_timeout and deadlock detection apply.
        if let Some(address) = insert(locked)? {
            return Ok(Some(address));
        }
        if held::find(request, pools)?.is_some() {
            return Ok(None);
        }
    }
}

/// Locks and returns the first address of a run that no other transaction has locked.
fn lock_first(pool: &Pool, low: u128, high: u128, lowest_locked: &mut Option<u128>) -> Option<u128> {
    for n in low..=high {
        if try_lock_address(pool, n) {
            return Some(n);
        }
        lowest_locked.get_or_insert(n);
    }
    None
}
