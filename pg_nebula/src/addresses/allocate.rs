//! Who holds which address.

use std::net::IpAddr;

use nebula_core::address::{Family, number};
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::request::{Holding, Request, disabled, holding, of_family};
use super::{group_range, linked_table, release, static_hosts, take};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::{Host, network};
use crate::pg::datum::timestamp::is_positive;
use crate::pg::error::{Error, Result, required, sql};
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;
use crate::pools::cache::{known_pools, pools_of};
use crate::pools::pool::Pool;

/// Gives a device an address and answers it: the lowest free one, or the one asked for.
///
/// A device that holds an address in the project gets that again; one whose address is in quarantine gets it back.
/// `lease` NULL: held until released. `label`: from the range reserved under this name while it has room. `family`: 4
/// or 6. `client`: recorded instead of the connection's address. Errors: P0002 no such project or pool, 22023 address outside the pools or
/// reserved, 23505 address taken or device in another project, 55000 device holds another address or pool disabled,
/// 53400 exhausted,
/// 40001 in REPEATABLE READ and stricter when the snapshot is too old to tell.
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
        project: required(project_id, "project_id")?,
        device: required(device_id, "device_id")?,
        allocated_by,
        pool,
        address: address.as_ref().map(host).transpose()?,
        lease,
        label,
        family: family.map(family_numbered).transpose()?,
        client,
    };
    Ok(Host(allocate_fast_or_general(&request)?))
}

/// Gives a device an address of each family that the project has an enabled pool for, IPv4 first.
///
/// One transaction: both or none. Errors: as allocate_ip.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn allocate_dual(
    project_id: Option<Uuid>,
    device_id: Option<Uuid>,
    allocated_by: default!(Option<&str>, "NULL"),
    lease: default!(Option<Interval>, "NULL"),
    label: default!(Option<&str>, "NULL"),
    client: default!(Option<Inet>, "NULL"),
) -> sql::Result<TableIterator<'static, (name!(family, i32), name!(ip, Host))>> {
    let mut request = Request {
        allocated_by,
        lease,
        label,
        client,
        ..Request::new(required(project_id, "project_id")?, required(device_id, "device_id")?)
    };
    join_allocators()?;
    let pools = pools_of(request.project, None)?;
    let mut held = Vec::new();
    for (number, family) in [(4, Family::V4), (6, Family::V6)] {
        if pools.iter().any(|pool| pool.enabled && pool.network.family() == family) {
            request.family = Some(family);
            held.push((number, Host(allocate(&request)?)));
        }
    }
    if held.is_empty() {
        return Err(disabled(&request, &pools).into());
    }
    Ok(TableIterator::new(held))
}

/// `allocate_ip` under the name that existing clients call.
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
    Ok(Host(allocate_fast_or_general(&request)?))
}

/// Releases what a device holds, or only `address`, and answers the address.
///
/// While an unexpired, unrevoked certificate names the device, the address stays in quarantine.
/// Errors: P0002 the device never held an address, 55000 it has released it already.
#[pg_extern]
fn release_ip(
    device_id: Option<Uuid>,
    released_by: default!(Option<&str>, "NULL"),
    address: default!(Option<Inet>, "NULL"),
    client: default!(Option<Inet>, "NULL"),
) -> sql::Result<Host> {
    Ok(Host(release::release(required(device_id, "device_id")?, released_by, address, client)?))
}

/// `release_ip` under the name that existing clients call.
#[pg_extern]
fn release_nebula_ip_by_device(device_id: Option<Uuid>) -> sql::Result<Host> {
    Ok(Host(release::release(required(device_id, "device_id")?, None, None, None)?))
}

/// The family that SQL calls 4 or 6, as `family(inet)` does.
pub(crate) fn family_numbered(number: i32) -> Result<Family> {
    match number {
        4 => Ok(Family::V4),
        6 => Ok(Family::V6),
        _ => Err(Error::bad_argument(
            format!("there is no address family {number}"),
            "Give 4 or 6, or leave it away.",
        )),
    }
}

fn host(inet: &Inet) -> Result<IpAddr> {
    let network = network(inet)?;
    if network.prefix == network.family().bits() {
        return Ok(network.address);
    }
    Err(Error::bad_argument(
        format!("{network} is a network, not an address"),
        "Leave the prefix length away.",
    ))
}

/// The usual case first, which needs no more privileges than the caller has: to call this.
fn allocate_fast_or_general(request: &Request<'_>) -> Result<IpAddr> {
    let usual = request.address.is_none()
        && request.label.is_none()
        && request.pool.is_none()
        && request.family.is_none();
    check_lease(request.lease)?;
    join_allocators()?;
    if usual
        && let Some(pools) = known_pools(request.project)
        && !static_hosts::is_static_host(request.device)?
        && pools.iter().all(|pool| pool.kept.iter().all(|kept| !kept.given))
        && let Some(address) = take::fast_path(request, &pools)?
    {
        return Ok(address);
    }
    as_owner(|| allocate(request))
}

pub(super) fn allocate(request: &Request<'_>) -> Result<IpAddr> {
    join_allocators()?;
    let all = pools_of(request.project, request.pool)?;
    let pools = of_family(&all, request)?;
    let wanted = requested_pool(request, &pools)?;
    // Another session may allocate for, or release, the same device meanwhile: then look again.
    loop {
        let held = holding(request, &pools)?;
        let is_kept = held.as_ref().is_some_and(|held| !held.quarantined);
        let found = match held {
            Some(held) if held.quarantined => revive(request, &held)?,
            Some(held) => keep(request, &held)?,
            None => match (request.address, wanted) {
                (Some(address), Some(pool)) => take::take_exactly(request, pool, address)?,
                _ => match group_range::take(request, &pools)? {
                    None => take::take_lowest(request, &pools)?,
                    found => found,
                },
            },
        };
        if let Some(address) = found {
            if !is_kept {
                static_hosts::moved(request.project, request.device)?;
            }
            linked_table::sync(request.device)?;
            return Ok(address);
        }
    }
}

pub(crate) fn check_lease(lease: Option<Interval>) -> Result<()> {
    if lease.is_some_and(|lease| !is_positive(lease)) {
        return Err(Error::bad_argument("lease must be longer than zero", "For example interval '1 day'."));
    }
    Ok(())
}

/// The pool a requested address lies in.
fn requested_pool<'a>(request: &Request<'_>, pools: &'a [Pool]) -> Result<Option<&'a Pool>> {
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
        return Err(disabled(request, std::slice::from_ref(pool)));
    }
    if pool.assigns(address) || group_range::belongs(request, pool, address)? {
        return Ok(Some(pool));
    }
    if let Some(kept) = pool.kept_at(number(address)) {
        let (word, hint) = if kept.given {
            ("for devices of group", "Give the label of the group, or choose another address.")
        } else {
            (
                "by exclusion",
                "Choose another address, or drop it: SELECT nebula.drop_reservation(project_id, label).",
            )
        };
        return Err(Error::bad_argument(
            format!("{address} in pool \"{}\" is reserved {word} \"{}\"", pool.name, kept.label),
            hint,
        ));
    }
    Err(Error::bad_argument(
        format!("{address} is reserved in pool \"{}\" ({})", pool.name, pool.network),
        "Network, broadcast and gateway addresses are not given out; choose another.",
    ))
}

/// Keeps what the device holds, with a new lease if one was asked for.
fn keep(request: &Request<'_>, held: &Holding) -> Result<Option<IpAddr>> {
    // The lock makes a release wait: a certificate signed for this address in the same transaction is then seen.
    static LOCK: Statement = Statement::new(
        "SELECT FROM nebula.allocation WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NULL
            FOR SHARE",
    );
    static RENEW: Statement = Statement::new(
        "UPDATE nebula.allocation SET lease_until = now() + $4
          WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NULL RETURNING ip",
    );
    let ip = Host(held.address);
    let still = if request.lease.is_some() {
        RENEW.exists(&[request.project.into(), ip.into(), request.device.into(), request.lease.into()])?
    } else {
        LOCK.exists(&[request.project.into(), ip.into(), request.device.into()])?
    };
    Ok(still.then_some(held.address))
}

/// Takes the device's own address back out of quarantine.
fn revive(request: &Request<'_>, held: &Holding) -> Result<Option<IpAddr>> {
    static REVIVE: Statement = Statement::new(
        "UPDATE nebula.allocation
            SET released_at = NULL, quarantined_until = NULL, allocated_at = now(),
                allocated_by = coalesce($4, session_user::text), lease_until = now() + $5,
                client = coalesce($6, inet_client_addr())
          WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NOT NULL RETURNING ip",
    );
    let back = REVIVE.exists(&[
        request.project.into(),
        Host(held.address).into(),
        request.device.into(),
        request.allocated_by.into(),
        request.lease.into(),
        request.client.clone().into(),
    ])?;
    Ok(back.then_some(held.address))
}
