//! Pools: ranges that addresses are given out from.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::address::{Network, number};
use crate::error::{Error, Kind, Result, required};
use crate::link;
use crate::map::snapshot_is_fixed;
use crate::plan::{Plan, Row};
use crate::project;

/// A pool as the search for a free address sees it.
#[derive(Clone, Debug)]
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
    /// Whether it gives out addresses; what is held stays held.
    pub(crate) enabled: bool,
    /// Parts that not everybody gets addresses from, by address; they do not overlap.
    pub(crate) kept: Vec<Kept>,
    /// From this address on an allocation may cross the next threshold that nobody was told of; `None`: none left.
    pub(crate) watch_from: Option<u128>,
}

/// A part of a pool that is excluded, or kept for a group of devices.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Its addresses.
    pub(crate) range: RangeInclusive<u128>,
    /// Its name, unique in the project.
    pub(crate) label: String,
    /// Whether devices that name the label get addresses from it; otherwise nobody does.
    pub(crate) given: bool,
}

impl Pool {
    /// Whether `address` may be given to a device of no group.
    pub(crate) fn assigns(&self, address: IpAddr) -> bool {
        self.network.contains(address)
            && self.network.assignable().contains(&number(address))
            && self.gateway != Some(address)
            && self.kept_at(number(address)).is_none()
    }

    /// The lowest address at or above `from` that may be given to a device of no group.
    pub(crate) fn assignable_from(&self, from: u128) -> Option<u128> {
        let range = self.network.assignable();
        let mut next = from.max(*range.start());
        while next <= *range.end() {
            next = match self.kept_at(next) {
                Some(kept) => kept.range.end().checked_add(1)?,
                None if self.gateway.map(number) == Some(next) => next.checked_add(1)?,
                None => return Some(next),
            };
        }
        None
    }

    /// The kept part in which the address with this number lies.
    pub(crate) fn kept_at(&self, number: u128) -> Option<&Kept> {
        let after = self.kept.partition_point(|kept| *kept.range.start() <= number);
        self.kept[..after].last().filter(|kept| *kept.range.end() >= number)
    }

    /// Where usage may reach `percent` of what can be given out, as long as the lowest address goes first.
    fn position(&self, percent: i32) -> Option<u128> {
        let assignable = self.network.assignable();
        let sum = |given: bool| -> u128 {
            let parts = self.kept.iter().filter(|kept| kept.given == given);
            parts.map(|kept| kept.range.end() - kept.range.start() + 1).sum()
        };
        let count = self.network.assignable_count().saturating_sub(sum(false));
        let percent = u128::from(percent.unsigned_abs());
        // Divided first where the product would overflow; a pool that large does not miss the rest.
        let nth = count.checked_mul(percent).map_or(count / 100 * percent, |product| product.div_ceil(100));
        // The ranges of groups may be full already.
        let nth = nth.saturating_sub(sum(true));
        assignable.start().checked_add(nth.max(1) - 1)
    }
}

/// Project, and the name asked for.
type Asked = ([u8; 16], Option<String>);

thread_local! {
    /// Pools that this session has read.
    static KNOWN: RefCell<HashMap<Asked, Rc<[Pool]>>> = RefCell::new(HashMap::new());
    /// Goes up whenever pools change, so that what was read before is not kept.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Pools were made, changed or dropped: read them again.
pub(crate) fn forget_all() {
    CHANGES.set(CHANGES.get() + 1);
    KNOWN.with_borrow_mut(HashMap::clear);
    link::forget();
}

/// The pools of a project in the order they are used, or only the one named. Kept until they change; who must not miss
/// a change calls [`crate::map::join_allocators`] first.
///
/// # Errors
/// [`Kind::Missing`] for an unknown project or pool, and for a project without pools.
pub(crate) fn pools_of(project: Uuid, name: Option<&str>) -> Result<Rc<[Pool]>> {
    let key = (*project.as_bytes(), name.map(str::to_owned));
    if let Some(pools) = KNOWN.with_borrow(|known| known.get(&key).cloned()) {
        return Ok(pools);
    }
    let before = CHANGES.get();
    let pools: Rc<[Pool]> = read_pools(project, name)?.into();
    // An old snapshot shows old pools; and a change heard of while reading may have come after the snapshot.
    if CHANGES.get() == before && !snapshot_is_fixed() {
        KNOWN.with_borrow_mut(|known| known.insert(key, Rc::clone(&pools)));
    }
    Ok(pools)
}

/// All pools of a project, if this session has read them.
pub(crate) fn known_pools(project: Uuid) -> Option<Rc<[Pool]>> {
    KNOWN.with_borrow(|known| known.get(&(*project.as_bytes(), None)).cloned())
}

fn read_pools(project: Uuid, name: Option<&str>) -> Result<Vec<Pool>> {
    static LIST: Plan = Plan::new(
        "SELECT p.pool_id, p.name, p.cidr::inet, p.gateway, p.enabled,
                (SELECT min(t.percent) FROM unnest(p.thresholds) AS t(percent) WHERE t.percent > p.alarmed),
                EXISTS (SELECT FROM nebula.reservation r WHERE r.pool_id = p.pool_id)
           FROM nebula.pool p
          WHERE p.project_id = $1 AND ($2 IS NULL OR p.name = $2) ORDER BY p.pool_id",
    );
    let read = |row: &Row<'_>| {
        let id = row.need(1)?;
        let mut pool = Pool {
            project,
            id,
            name: row.need(2)?,
            network: network(&row.need(3)?)?,
            gateway: row.get::<Inet>(4)?.map(|ip| network(&ip)).transpose()?.map(|ip| ip.address),
            enabled: row.need(5)?,
            kept: if row.need(7)? { kept_parts(id)? } else { Vec::new() },
            watch_from: None,
        };
        pool.watch_from = row.get(6)?.and_then(|percent| pool.position(percent));
        Ok(pool)
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

/// The exclusions and group ranges of a pool, by address.
fn kept_parts(pool: i32) -> Result<Vec<Kept>> {
    static LIST: Plan = Plan::new(
        "SELECT first_ip, last_ip, label, for_group FROM nebula.reservation WHERE pool_id = $1 ORDER BY first_ip",
    );
    LIST.rows(&[pool.into()], |row| {
        let first = number(network(&row.need(1)?)?.address);
        let last = number(network(&row.need(2)?)?.address);
        Ok(Kept { range: first..=last, label: row.need(3)?, given: row.need(4)? })
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

/// How many addresses there are from `first` to `last`, both counted; 0 when `first` is the higher one.
#[pg_extern(immutable, strict, parallel_safe)]
fn span(first: Inet, last: Inet) -> std::result::Result<AnyNumeric, ErrorReport> {
    let (first, last) = (number(network(&first)?.address), number(network(&last)?.address));
    // One more than u128 holds for the whole of IPv6.
    Ok(last
        .checked_sub(first)
        .map_or(AnyNumeric::from(0), |more| AnyNumeric::from(more) + AnyNumeric::from(1)))
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
