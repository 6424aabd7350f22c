//! A request for an address, and what its device holds already.

use std::borrow::Cow;
use std::net::IpAddr;

use nebula_core::address::Family;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::network;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::{Row, Statement};
use crate::pools::pool::Pool;

/// What a caller asks for.
pub(super) struct Request<'a> {
    pub(super) project: Uuid,
    pub(super) device: Uuid,
    pub(super) allocated_by: Option<&'a str>,
    pub(super) pool: Option<&'a str>,
    pub(super) address: Option<IpAddr>,
    pub(super) lease: Option<Interval>,
    /// Take from the range reserved under this name first; `None`: from those of the device's groups.
    pub(super) label: Option<&'a str>,
    pub(super) family: Option<Family>,
    /// Client address to record; `None`: that of the connection.
    pub(super) client: Option<Inet>,
}

impl Request<'_> {
    /// Any address, without a lease.
    pub(super) fn new(project: Uuid, device: Uuid) -> Self {
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
pub(super) struct Holding {
    pub(super) project: Uuid,
    pub(super) pool: String,
    pub(super) address: IpAddr,
    pub(super) quarantined: bool,
}

/// The pools of the family asked for, or all.
pub(super) fn of_family<'a>(pools: &'a [Pool], request: &Request<'_>) -> Result<Cow<'a, [Pool]>> {
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

/// The error for pools that give out nothing.
pub(super) fn disabled(request: &Request<'_>, pools: &[Pool]) -> Error {
    let names: Vec<String> = pools.iter().map(|pool| format!("\"{}\"", pool.name)).collect();
    Error::new(
        Kind::WrongState,
        format!("pool {} of project {} is disabled", names.join(", "), request.project),
        "Enable it: SELECT nebula.enable_pool(project_id, name), or use another pool.",
    )
}

/// What the device holds already, or what it may have back, if that answers the request.
pub(super) fn holding(request: &Request<'_>, pools: &[Pool]) -> Result<Option<Holding>> {
    // Two index look-ups of at most a handful of rows.
    static HELD: Statement = Statement::new(
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
    let held = HELD.query(&[request.device.into(), request.project.into()], read)?;
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
