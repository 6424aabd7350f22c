//! Who holds which address.

mod named;
mod patience;
mod range;
mod release;
mod row;
mod take;

pub(crate) use named::all_moved;
pub(crate) use row::write_all;

use std::borrow::Cow;
use std::net::IpAddr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::address::{Family, number};
use crate::error::{Error, Kind, Result, required};
use crate::inet::Host;
use crate::instant::is_positive;
use crate::link;
use crate::map::join_allocators;
use crate::plan::{Plan, Row, as_owner};
use crate::pool::{Pool, known_pools, network, pools_of};

/// What a caller asks for.
pub(crate) struct Request<'a> {
    pub(crate) project: Uuid,
    pub(crate) device: Uuid,
    pub(crate) allocated_by: Option<&'a str>,
    pub(crate) pool: Option<&'a str>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) lease: Option<Interval>,
    /// Take from the range reserved under this name first; `None`: from those of the device's groups.
    pub(crate) label: Option<&'a str>,
    pub(crate) family: Option<Family>,
    /// Client address to record; `None`: that of the connection.
    pub(crate) client: Option<Inet>,
}

impl Request<'_> {
    /// Any address, without a lease.
    pub(crate) fn new(project: Uuid, device: Uuid) -> Self {
        Self {
            project,
            device,
            allocated_by: None,
            pool: None,
            address: None,
            lease: None,
            label: None,
            family: None,
            client: None,
        }
    }
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
) -> std::result::Result<Host, ErrorReport> {
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
    Ok(Host(allocate_quickly(&request)?))
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
) -> std::result::Result<TableIterator<'static, (name!(family, i32), name!(ip, Host))>, ErrorReport> {
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
) -> std::result::Result<Host, ErrorReport> {
    let request = Request {
        allocated_by,
        ..Request::new(required(project_id, "project_id")?, required(device_id, "device_id")?)
    };
    Ok(Host(allocate_quickly(&request)?))
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
) -> std::result::Result<Host, ErrorReport> {
    Ok(Host(release::release(required(device_id, "device_id")?, released_by, address, client)?))
}

/// `release_ip` under the name that existing clients call.
#[pg_extern]
fn release_nebula_ip_by_device(device_id: Option<Uuid>) -> std::result::Result<Host, ErrorReport> {
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
fn allocate_quickly(request: &Request<'_>) -> Result<IpAddr> {
    let usual = request.address.is_none()
        && request.label.is_none()
        && request.pool.is_none()
        && request.family.is_none();
    check_lease(request.lease)?;
    join_allocators()?;
    if usual
        && let Some(pools) = known_pools(request.project)
        && !named::is_named(request.device)?
        && pools.iter().all(|pool| pool.kept.iter().all(|kept| !kept.given))
        && let Some(address) = take::take_at_once(request, &pools)?
    {
        return Ok(address);
    }
    as_owner(|| allocate(request))
}

pub(crate) fn allocate(request: &Request<'_>) -> Result<IpAddr> {
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
                _ => match range::take(request, &pools)? {
                    None => take::take_lowest(request, &pools)?,
                    found => found,
                },
            },
        };
        if let Some(address) = found {
            if !is_kept {
                named::moved(request.project, request.device)?;
            }
            link::show(request.device)?;
            return Ok(address);
        }
    }
}

/// The pools of the family asked for, or all.
pub(crate) fn of_family<'a>(pools: &'a [Pool], request: &Request<'_>) -> Result<Cow<'a, [Pool]>> {
    let Some(family) = request.family else { return Ok(Cow::Borrowed(pools)) };
    let pools: Vec<Pool> = pools.iter().filter(|pool| pool.network.family() == family).cloned().collect();
    if pools.is_empty() {
        return Err(Error::new(
            Kind::Missing,
            format!("project {} has no pool of family {family:?}", request.project),
            "Make one: SELECT nebula.populate_pool(project_id, cidr, name).",
        ));
    }
    Ok(Cow::Owned(pools))
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
    if pool.assigns(address) || range::belongs(request, pool, address)? {
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

/// The error for pools that give out nothing.
fn disabled(request: &Request<'_>, pools: &[Pool]) -> Error {
    let names: Vec<String> = pools.iter().map(|pool| format!("\"{}\"", pool.name)).collect();
    Error::new(
        Kind::WrongState,
        format!("pool {} of project {} is disabled", names.join(", "), request.project),
        "Enable it: SELECT nebula.enable_pool(project_id, name), or use another pool.",
    )
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
        .family
        .or_else(|| request.address.map(Family::of))
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
    let ip = Host(held.address);
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
                allocated_by = coalesce($4, session_user::text), lease_until = now() + $5,
                client = coalesce($6, inet_client_addr())
          WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NOT NULL RETURNING ip",
    );
    let back = REVIVE.hits(&[
        request.project.into(),
        Host(held.address).into(),
        request.device.into(),
        request.allocated_by.into(),
        request.lease.into(),
        request.client.clone().into(),
    ])?;
    Ok(back.then_some(held.address))
}
