//! One address for a device.

use std::net::IpAddr;

use nebula_core::address::number;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::request::{Request, parse_address, parse_family};
use super::{assign, fast_path, group_range, held, linked_table, one_project, static_hosts};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Result, required, sql};
use crate::pg::privilege::as_owner;
use crate::pools::cache::pools_of;
use crate::pools::pool::Pool;

#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "a SQL function with defaults, called by name")]
fn allocate_ip(
    project_id: Option<Uuid>,
    device_id: Option<Uuid>,
    allocated_by: default!(Option<&str>, "NULL"),
    pool: default!(Option<&str>, "NULL"),
    address: default!(Option<Inet>, "NULL"),
    lease: default!(Option<Interval>, "NULL"),
    label: default!(Option<&str>, "NULL"),
    family: default!(Option<i32>, "NULL"),
    client: default!(Option<Inet>, "NULL"),
) -> sql::Result<Host> {
    let request = Request {
        allocated_by,
        pool,
        address: address.as_ref().map(parse_address).transpose()?,
        lease,
        label,
        family: family.map(parse_family).transpose()?,
        client,
        ..Request::new(required(project_id, "project_id")?, required(device_id, "device_id")?)
    };
    Ok(Host(allocate(&request)?))
}

#[pg_extern]
fn allocate_nebula_ip(
    project_id: Option<Uuid>,
    device_id: Option<Uuid>,
    allocated_by: Option<&str>,
) -> sql::Result<Host> {
    let request = Request {
        allocated_by,
        ..Request::new(required(project_id, "project_id")?, required(device_id, "device_id")?)
    };
    Ok(Host(allocate(&request)?))
}

fn allocate(request: &Request<'_>) -> Result<IpAddr> {
    request.check()?;
    join_allocators()?;
    match fast_path::allocate(request)? {
        Some(address) => Ok(address),
        None => as_owner(|| general_path(request)),
    }
}

/// Any allocation; needs the owner's privileges.
pub(super) fn general_path(request: &Request<'_>) -> Result<IpAddr> {
    join_allocators()?;
    let all = pools_of(request.project, request.pool)?;
    let pools = request.matching_pools(&all)?;
    let requested = requested_address(request, &pools)?;
    // Repeats when another session allocates to the same device, or releases its address, in between.
    loop {
        let held = held::find(request, &pools)?;
        let was_held = held.as_ref().is_some_and(|held| !held.in_quarantine);
        let allocated = match (&held, requested) {
            (Some(held), _) if held.in_quarantine => held.end_quarantine(request)?,
            (Some(held), _) => held.confirm(request)?,
            (None, Some((pool, address))) => assign::requested(request, pool, address)?,
            (None, None) => match group_range::assign(request, &pools)? {
                None => assign::lowest(request, &pools)?,
                allocated => allocated,
            },
        };
        if let Some(address) = allocated {
            if !was_held {
                one_project::require(request.project, [request.device])?;
                static_hosts::notify_peers(request.project, [request.device])?;
            }
            linked_table::sync(request.device)?;
            return Ok(address);
        }
    }
}

/// The address that is asked for, and its pool.
pub(super) fn requested_address<'a>(
    request: &Request<'_>,
    pools: &'a [Pool],
) -> Result<Option<(&'a Pool, IpAddr)>> {
    let Some(address) = request.address else { return Ok(None) };
    let Some(pool) = pools.iter().find(|pool| pool.network.contains(address)) else {
        return Err(Error::bad_argument(
            match request.pool {
                Some(name) => format!("{address} is not in pool \"{name}\" of project {}", request.project),
                None => format!("{address} is in no pool of project {}", request.project),
            },
            "List its pools: SELECT name, cidr FROM nebula.pool.",
        ));
    };
    if !pool.enabled {
        return Err(request.pools_disabled(std::slice::from_ref(pool)));
    }
    if pool.is_assignable(address) || group_range::is_for_device(request, pool, address)? {
        return Ok(Some((pool, address)));
    }
    Err(not_assignable(pool, address))
}

/// The error for an address that lies in a pool, but not for this device.
fn not_assignable(pool: &Pool, address: IpAddr) -> Error {
    let Some(reservation) = pool.reservation_at(number(address)) else {
        return Error::bad_argument(
            format!("{address} is reserved in pool \"{}\" ({})", pool.name, pool.network),
            "Network, broadcast and gateway addresses are not given out; choose another.",
        );
    };
    let (reason, hint) = if reservation.for_group {
        ("for devices of group", "Give the label of the group, or choose another address.")
    } else {
        (
            "by exclusion",
            "Choose another address, or drop it: SELECT nebula.drop_reservation(project_id, label).",
        )
    };
    Error::bad_argument(
        format!("{address} in pool \"{}\" is reserved {reason} \"{}\"", pool.name, reservation.label),
        hint,
    )
}
