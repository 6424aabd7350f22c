//! The request of a caller.

use std::borrow::Cow;
use std::net::IpAddr;

use nebula_core::address::Family;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::network;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::limits::{ACTOR, check_span, check_text};
use crate::pools::pool::{Pool, Purpose};

/// The arguments of `allocate_ip` and its variants.
pub(super) struct Request<'a> {
    pub(super) project: Uuid,
    pub(super) device: Uuid,
    pub(super) allocated_by: Option<&'a str>,
    pub(super) pool: Option<&'a str>,
    pub(super) address: Option<IpAddr>,
    pub(super) lease: Option<Interval>,
    /// Take from the range reserved under this label first; `None`: from the ranges of the device's groups.
    pub(super) label: Option<&'a str>,
    pub(super) family: Option<Family>,
    /// Client address to record; `None`: that of the connection.
    pub(super) client: Option<Inet>,
    /// Whom the address is for.
    pub(super) purpose: Purpose,
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
            purpose: Purpose::Device,
        }
    }

    /// Refuses what no allocation has.
    pub(super) fn check(&self) -> Result<()> {
        check_text("allocated_by", self.allocated_by, ACTOR)?;
        self.lease.map_or(Ok(()), |lease| check_span("lease", lease, "1 day"))
    }

    /// The pools of the family that is asked for, or all.
    pub(super) fn matching_pools<'a>(&self, pools: &'a [Pool]) -> Result<Cow<'a, [Pool]>> {
        let Some(family) = self.family else { return Ok(Cow::Borrowed(pools)) };
        let pools: Vec<Pool> = pools.iter().filter(|pool| pool.network.family() == family).cloned().collect();
        if pools.is_empty() {
            return Err(Error::new(
                Kind::Missing,
                format!("project {} has no pool of family {family:?}", self.project),
                "Make one: SELECT nebula.populate_pool(project_id, cidr, name).",
            ));
        }
        Ok(Cow::Owned(pools))
    }

    /// The error for a request that only disabled pools could serve.
    pub(super) fn pools_disabled(&self, pools: &[Pool]) -> Error {
        let names: Vec<String> = pools.iter().map(|pool| format!("\"{}\"", pool.name)).collect();
        Error::new(
            Kind::WrongState,
            format!("pool {} of project {} is disabled", names.join(", "), self.project),
            "Enable it: SELECT nebula.enable_pool(project_id, name), or use another pool.",
        )
    }
}

/// The family with this number, by which `family(inet)` of SQL calls it.
pub(super) fn parse_family(number: i32) -> Result<Family> {
    match number {
        4 => Ok(Family::V4),
        6 => Ok(Family::V6),
        _ => Err(Error::bad_argument(
            format!("there is no address family {number}"),
            "Give 4 or 6, or omit it.",
        )),
    }
}

/// The address in an argument that must be one address, not a network.
pub(super) fn parse_address(inet: &Inet) -> Result<IpAddr> {
    let network = network(inet)?;
    if network.prefix == network.family().bits() {
        return Ok(network.address);
    }
    Err(Error::bad_argument(
        format!("{network} is a network, not an address"),
        format!("Omit the prefix length: {}.", network.address),
    ))
}
