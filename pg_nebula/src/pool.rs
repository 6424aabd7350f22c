//! Pools: ranges that addresses are given out from.

use std::net::IpAddr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::address::{Network, number};
use crate::error::{Error, Kind, Result, required};
use crate::plan::{Plan, Row};
use crate::project;

/// A pool as the search for a free address sees it.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Project it belongs to.
    pub(crate) project: Uuid,
    /// Identifier.
    pub(crate) id: i32,
    /// Name, unique in the project.
    pub(crate) name: String,
    /// Its range.
    pub(crate) network: Network,
    /// Address kept back for a gateway.
    pub(crate) gateway: Option<IpAddr>,
}

impl Pool {
    /// Whether `address` may be given out.
    pub(crate) fn assigns(&self, address: IpAddr) -> bool {
        self.network.contains(address)
            && self.network.assignable().contains(&number(address))
            && self.gateway != Some(address)
    }
}

/// The pools of a project in the order they are used, or only the one named.
///
/// # Errors
/// [`Kind::Missing`] for an unknown project or pool, and for a project without pools.
pub(crate) fn pools_of(project: Uuid, name: Option<&str>) -> Result<Vec<Pool>> {
    static LIST: Plan = Plan::new(
        "SELECT pool_id, name, cidr::inet, gateway FROM nebula.pool
          WHERE project_id = $1 AND ($2 IS NULL OR name = $2) ORDER BY pool_id",
    );
    let read = |row: &Row<'_>| {
        Ok(Pool {
            project,
            id: row.need(1)?,
            name: row.need(2)?,
            network: network(&row.need(3)?)?,
            gateway: row.get::<Inet>(4)?.map(|ip| network(&ip)).transpose()?.map(|ip| ip.address),
        })
    };
    let pools = LIST.rows(&[project.into(), name.into()], read)?;
    if !pools.is_empty() {
        return Ok(pools);
    }
    project::check_exists(project)?;
    Err(match name {
        Some(name) => Error::new(
            Kind::Missing,
            format!("project {project} has no pool \"{name}\""),
            "List its pools: SELECT name, cidr FROM nebula.pool.",
        ),
        None => Error::new(
            Kind::Missing,
            format!("project {project} has no pool"),
            "Make one: SELECT nebula.populate_pool(project_id, '10.42.0.0/24').",
        ),
    })
}

/// The address and prefix length in an `inet`.
pub(crate) fn network(inet: &Inet) -> Result<Network> {
    inet.0.parse().map_err(|()| Error::broken_promise("address"))
}

/// The network in an argument that must be one, not a host in it.
///
/// # Errors
/// [`Kind::BadArgument`] when host bits are set.
pub(crate) fn checked_cidr(cidr: &Inet) -> Result<Network> {
    let network = network(cidr)?;
    let truncated = network.truncated();
    if network == truncated {
        return Ok(network);
    }
    Err(Error::bad_argument(
        format!("{network} is an address in a network, not a network"),
        format!("The network is {truncated}."),
    ))
}

/// Makes a pool of a range and answers how many addresses it can give out.
///
/// It costs one row, whatever its size. `reserve_gateway` keeps back the first address.
/// Errors: P0002 no such project, 22023 malformed name, host bits set or outside the overlay,
/// 23505 name taken or range overlapping another pool of the project.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn populate_pool(
    project_id: Option<Uuid>,
    cidr: Option<Inet>,
    name: default!(Option<&str>, "'default'"),
    reserve_gateway: default!(Option<bool>, "false"),
) -> std::result::Result<AnyNumeric, ErrorReport> {
    let count = populate(
        required(project_id, "project_id")?,
        &required(cidr, "cidr")?,
        required(name, "name")?,
        reserve_gateway.unwrap_or(false),
    )?;
    Ok(AnyNumeric::from(count))
}

fn populate(project: Uuid, cidr: &Inet, name: &str, reserve_gateway: bool) -> Result<u128> {
    // The trigger on the table refuses overlaps, for rows made by hand too.
    static INSERT: Plan = Plan::new(
        "INSERT INTO nebula.pool (project_id, name, cidr, gateway) VALUES ($1, $2, $3::cidr, $4)
         ON CONFLICT (project_id, name) DO NOTHING RETURNING pool_id",
    );
    project::check_exists(project)?;
    project::check_name("pool", name)?;
    let network = checked_cidr(cidr)?;
    let count = network.assignable_count();
    let gateway = reserve_gateway.then(|| network.family().address(*network.assignable().start()));
    if gateway.is_some() && count == 1 {
        return Err(Error::bad_argument(
            format!("{network} has one address, and it would be the gateway's"),
            "Use a larger range, or do not reserve a gateway.",
        ));
    }
    let gateway_text = gateway.map(|address| Inet(address.to_string()));
    if !INSERT.hits(&[project.into(), name.into(), Inet(network.to_string()).into(), gateway_text.into()])? {
        return Err(Error::new(
            Kind::Exists,
            format!("project {project} has a pool \"{name}\" already"),
            "Give the new pool another name.",
        ));
    }
    Ok(count - u128::from(gateway.is_some()))
}

/// First and last address of a range that may be given out, and how many they are.
#[pg_extern(immutable, strict, parallel_safe)]
fn assignable_range(
    cidr: Inet,
) -> std::result::Result<
    TableIterator<'static, (name!(first, Inet), name!(last, Inet), name!(count, AnyNumeric))>,
    ErrorReport,
> {
    let network = network(&cidr)?;
    let range = network.assignable();
    let text = |n: &u128| Inet(network.family().address(*n).to_string());
    let count = AnyNumeric::from(network.assignable_count());
    Ok(TableIterator::once((text(range.start()), text(range.end()), count)))
}
