//! Who holds which address.

mod release;
mod take;

use std::net::IpAddr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::address::Family;
use crate::error::{Error, Kind, Result, required};
use crate::plan::{Plan, Row};
use crate::pool::{Pool, network, pools_of};

/// What a caller asks for.
struct Request<'a> {
    project: Uuid,
    device: Uuid,
    allocated_by: Option<&'a str>,
    pool: Option<&'a str>,
    address: Option<IpAddr>,
    lease: Option<Interval>,
}

/// A row of the device that is asked for.
struct Holding {
    project: Uuid,
    pool: String,
    address: IpAddr,
    quarantined: bool,
}

/// Gives a device an address and answers it: the lowest free one, or the one asked for.
///
/// A device that holds an address in the project gets that again; one whose address is in quarantine gets it back.
/// `lease` NULL: held until released. Errors: P0002 no such project or pool, 22023 address outside the pools or
/// reserved, 23505 address taken or device in another project, 55000 device holds another address, 53400 exhausted,
/// 40001 in REPEATABLE READ and stricter when the snapshot is too old to tell.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn allocate_ip(
    project_id: Option<Uuid>,
    device_id: Option<Uuid>,
    allocated_by: default!(Option<&str>, "NULL"),
    pool: default!(Option<&str>, "NULL"),
    address: default!(Option<Inet>, "NULL"),
    lease: default!(Option<Interval>, "NULL"),
) -> std::result::Result<Inet, ErrorReport> {
    let request = Request {
        project: required(project_id, "project_id")?,
        device: required(device_id, "device_id")?,
        allocated_by,
        pool,
        address: address.as_ref().map(host).transpose()?,
        lease,
    };
    Ok(Inet(allocate(&request)?.to_string()))
}

/// `allocate_ip` under the name that existing clients call.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn allocate_nebula_ip(
    project_id: Option<Uuid>,
    device_id: Option<Uuid>,
    allocated_by: Option<&str>,
) -> std::result::Result<Inet, ErrorReport> {
    let request = Request {
        project: required(project_id, "project_id")?,
        device: required(device_id, "device_id")?,
        allocated_by,
        pool: None,
        address: None,
        lease: None,
    };
    Ok(Inet(allocate(&request)?.to_string()))
}

/// Releases what a device holds and answers the address.
///
/// While an unexpired, unrevoked certificate names the device, the address stays in quarantine.
/// Errors: P0002 the device never held an address, 55000 it has released it already.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn release_ip(
    device_id: Option<Uuid>,
    released_by: default!(Option<&str>, "NULL"),
) -> std::result::Result<Inet, ErrorReport> {
    Ok(release::release(required(device_id, "device_id")?, released_by)?)
}

/// `release_ip` under the name that existing clients call.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn release_nebula_ip_by_device(device_id: Option<Uuid>) -> std::result::Result<Inet, ErrorReport> {
    Ok(release::release(required(device_id, "device_id")?, None)?)
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

fn allocate(request: &Request<'_>) -> Result<IpAddr> {
    check_lease(request.lease)?;
    let pools = pools_of(request.project, request.pool)?;
    let wanted = requested_pool(request, &pools)?;
    // Another session may allocate for, or release, the same device meanwhile: then look again.
    loop {
        let found = match holding(request, &pools)? {
            Some(held) if held.quarantined => revive(request, &held)?,
            Some(held) => keep(request, &held)?,
            None => match (request.address, wanted) {
                (Some(address), Some(pool)) => take::take_exactly(request, pool, address)?,
                _ => take::take_lowest(request, &pools)?,
            },
        };
        if let Some(address) = found {
            return Ok(address);
        }
    }
}

fn check_lease(lease: Option<Interval>) -> Result<()> {
    static POSITIVE: Plan = Plan::new("SELECT WHERE $1 > interval '0'");
    if lease.is_some() && !POSITIVE.hits(&[lease.into()])? {
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
    if pool.assigns(address) {
        return Ok(Some(pool));
    }
    Err(Error::bad_argument(
        format!("{address} is reserved in pool \"{}\" ({})", pool.name, pool.network),
        "Network, broadcast and gateway addresses are not given out; choose another.",
    ))
}

/// What the device holds already, or what it may have back, if that answers the request.
fn holding(request: &Request<'_>, pools: &[Pool]) -> Result<Option<Holding>> {
    // Two index look-ups of at most a handful of rows.
    static HELD: Plan = Plan::new(
        "SELECT a.project_id, l.name, a.ip, false FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
          WHERE a.device_id = $1 AND a.released_at IS NULL
         UNION ALL
         (SELECT a.project_id, l.name, a.ip, true FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
           WHERE a.device_id = $1 AND a.project_id = $2 AND a.quarantined_until IS NOT NULL
           ORDER BY a.released_at DESC)",
    );
    let read = |row: &Row<'_>| {
        let ip: Inet = row.need(3)?;
        Ok(Holding {
            project: row.need(1)?,
            pool: row.need(2)?,
            address: network(&ip)?.address,
            quarantined: row.need(4)?,
        })
    };
    let held = HELD.rows(&[request.device.into(), request.project.into()], read)?;
    if let Some(elsewhere) = held.iter().find(|h| !h.quarantined && h.project != request.project) {
        return Err(Error::new(
            Kind::Exists,
            format!("device {} holds {} in project {}", request.device, elsewhere.address, elsewhere.project),
            "Release it there first: SELECT nebula.release_ip(device_id).",
        ));
    }
    // A device has one address of each family; without a word on it, whatever it holds will do.
    let family = request
        .address
        .map(Family::of)
        .or_else(|| request.pool.and_then(|_| pools.first()).map(|pool| pool.network.family()));
    let fits = |h: &Holding| {
        request.address.is_none_or(|address| address == h.address)
            && request.pool.is_none_or(|pool| pool == h.pool)
    };
    let mut current = None;
    let mut former = None;
    for held in held.into_iter().filter(|h| family.is_none_or(|f| f == Family::of(h.address))) {
        if held.quarantined {
            former = former.or(Some(held).filter(fits));
        } else {
            current = current.or(Some(held));
        }
    }
    match current {
        Some(held) if !fits(&held) => Err(Error::new(
            Kind::WrongState,
            format!("device {} holds {} from pool \"{}\"", request.device, held.address, held.pool),
            "Release that address first: SELECT nebula.release_ip(device_id).",
        )),
        None => Ok(former),
        held => Ok(held),
    }
}

/// Keeps what the device holds, with a new lease if one was asked for.
fn keep(request: &Request<'_>, held: &Holding) -> Result<Option<IpAddr>> {
    // The lock makes a release wait: a certificate signed for this address in the same transaction is then seen.
    static LOCK: Plan = Plan::new(
        "SELECT FROM nebula.allocation WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NULL
            FOR SHARE",
    );
    static RENEW: Plan = Plan::new(
        "UPDATE nebula.allocation SET lease_until = now() + $4
          WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NULL RETURNING ip",
    );
    let ip = Inet(held.address.to_string());
    let still = if request.lease.is_some() {
        RENEW.hits(&[request.project.into(), ip.into(), request.device.into(), request.lease.into()])?
    } else {
        LOCK.hits(&[request.project.into(), ip.into(), request.device.into()])?
    };
    Ok(still.then_some(held.address))
}

/// Takes the device's own address back out of quarantine.
fn revive(request: &Request<'_>, held: &Holding) -> Result<Option<IpAddr>> {
    static REVIVE: Plan = Plan::new(
        "UPDATE nebula.allocation
            SET released_at = NULL, quarantined_until = NULL, allocated_at = now(),
                allocated_by = coalesce($4, session_user::text), lease_until = now() + $5
          WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NOT NULL RETURNING ip",
    );
    let back = REVIVE.hits(&[
        request.project.into(),
        Inet(held.address.to_string()).into(),
        request.device.into(),
        request.allocated_by.into(),
        request.lease.into(),
    ])?;
    Ok(back.then_some(held.address))
}
