//! Per-session cache of pools, valid until a session changes a pool.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use nebula_core::address::number;
use pgrx::{Inet, Uuid};

use super::pool::{Pool, Reservation};
use super::project;
use crate::pg::datum::inet::network;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::privilege::as_owner;
use crate::pg::statement::{Row, Statement};

/// Project, and which of its pools.
type CacheKey = ([u8; 16], Selection);

/// Some of the pools of a project.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Selection {
    All,
    /// Those for devices.
    Device,
    /// The one for devices with this name.
    Named(String),
    /// Those for peers.
    Peer,
    /// The pools of one WireGuard interface, by its identifier.
    Interface([u8; 16]),
}

thread_local! {
    static CACHE: RefCell<HashMap<CacheKey, Rc<[Pool]>>> = RefCell::new(HashMap::new());
    /// Counts invalidations, so that pools which were read while one arrived are not cached.
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
}

/// How often pools have changed, as far as this session was told.
pub(super) fn invalidations() -> u64 {
    INVALIDATIONS.get()
}

/// Empties the cache: a pool was created, changed or dropped.
pub(crate) fn invalidate() {
    INVALIDATIONS.set(INVALIDATIONS.get() + 1);
    CACHE.with_borrow_mut(HashMap::clear);
}

/// The pools of a project for devices in the order of their use, or only the one called `name`, from the
/// cache if possible.
///
/// A caller that must not miss a change calls [`join_allocators`](crate::pg::catalog::join_allocators) first,
/// which reads pending invalidations.
///
/// # Errors
/// [`Kind::Missing`] for an unknown project or pool, and for a project without pools for devices;
/// [`Kind::WrongState`] for a pool for peers.
pub(crate) fn pools_of(project: Uuid, name: Option<&str>) -> Result<Rc<[Pool]>> {
    let selection = name.map_or(Selection::Device, |name| Selection::Named(name.to_owned()));
    let pools = cached(project, selection)?;
    if !pools.is_empty() {
        return Ok(pools);
    }
    project::check_exists(project)?;
    Err(match name {
        Some(name) if peer_pools_of(project)?.iter().any(|pool| pool.name == name) => Error::new(
            Kind::WrongState,
            format!("pool \"{name}\" of project {project} is for peers"),
            "Only create_peer takes addresses from it; name a pool of devices, or none.",
        ),
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

/// The pools of a project for peers in the order of their use; may be empty.
pub(crate) fn peer_pools_of(project: Uuid) -> Result<Rc<[Pool]>> {
    cached(project, Selection::Peer)
}

/// The pools of a project for the peers of an interface, in the order of their use; may be empty.
pub(crate) fn interface_pools_of(project: Uuid, interface: Uuid) -> Result<Rc<[Pool]>> {
    cached(project, Selection::Interface(*interface.as_bytes()))
}

/// Whether a pool of a project is for peers.
pub(crate) fn is_for_peers(project: Uuid, pool: i32) -> Result<bool> {
    let key = (*project.as_bytes(), Selection::Peer);
    let pools = match CACHE.with_borrow(|cache| cache.get(&key).cloned()) {
        Some(pools) => pools,
        None => as_owner(|| peer_pools_of(project))?,
    };
    Ok(pools.iter().any(|peers| peers.id == pool))
}

/// All pools of a project.
///
/// # Errors
/// [`Kind::Missing`] for an unknown project.
pub(crate) fn all_pools_of(project: Uuid) -> Result<Rc<[Pool]>> {
    let pools = cached(project, Selection::All)?;
    if pools.is_empty() {
        project::check_exists(project)?;
    }
    Ok(pools)
}

/// All pools of a project for devices, if they are in the cache.
pub(crate) fn cached_pools(project: Uuid) -> Option<Rc<[Pool]>> {
    CACHE.with_borrow(|cache| cache.get(&(*project.as_bytes(), Selection::Device)).cloned())
}

fn cached(project: Uuid, selection: Selection) -> Result<Rc<[Pool]>> {
    let key = (*project.as_bytes(), selection);
    if let Some(pools) = CACHE.with_borrow(|cache| cache.get(&key).cloned()) {
        return Ok(pools);
    }
    let before = INVALIDATIONS.get();
    let pools: Rc<[Pool]> = read_pools(project, &key.1)?.into();
    // Not cached: pools that changed while they were read, and a name without a pool, which may be misspelt.
    let is_misspelt = pools.is_empty() && matches!(key.1, Selection::Named(_));
    if INVALIDATIONS.get() == before && !is_misspelt {
        CACHE.with_borrow_mut(|cache| cache.insert(key, Rc::clone(&pools)));
    }
    Ok(pools)
}

/// The columns that are read of a pool, up to the condition.
macro_rules! pool_columns {
    () => {
        "SELECT p.pool_id, p.name, p.cidr::inet, p.gateway, p.enabled,
                (SELECT min(t.percent) FROM unnest(p.thresholds) AS t(percent) WHERE t.percent > p.alarmed),
                EXISTS (SELECT FROM nebula.reservation r WHERE r.pool_id = p.pool_id),
                p.interface_id
           FROM nebula.pool p "
    };
}

/// As of now, whatever the snapshot of the transaction shows: what is read here decides which addresses all
/// sessions find in the free map.
fn read_pools(project: Uuid, selection: &Selection) -> Result<Vec<Pool>> {
    static LIST: Statement = Statement::new(concat!(
        pool_columns!(),
        "WHERE p.project_id = $1 AND ($2 IS NULL OR p.name = $2) AND ($3 IS NULL OR p.purpose = $3)
          ORDER BY p.pool_id"
    ));
    // By the index of interfaces, however many pools the project has.
    static LIST_OF_INTERFACE: Statement = Statement::new(concat!(
        pool_columns!(),
        "WHERE p.interface_id = $2 AND p.project_id = $1 ORDER BY p.pool_id"
    ));
    let read = |row: &Row<'_>| {
        let id = row.need(1)?;
        let mut pool = Pool {
            project,
            id,
            name: row.need(2)?,
            network: network(&row.need(3)?)?,
            gateway: row.get::<Inet>(4)?.map(|ip| network(&ip)).transpose()?.map(|ip| ip.address),
            enabled: row.need(5)?,
            interface: row.get(8)?,
            reservations: if row.need(7)? { read_reservations(id)? } else { Vec::new() },
            next_threshold: None,
        };
        pool.next_threshold = row.get(6)?.and_then(|percent| pool.address_at_usage(percent));
        Ok(pool)
    };
    let (name, purpose) = match selection {
        Selection::Interface(id) => {
            return LIST_OF_INTERFACE.query_latest(&[project.into(), Uuid::from_bytes(*id).into()], read);
        }
        Selection::All => (None, None),
        Selection::Device => (None, Some("device")),
        Selection::Named(name) => (Some(name.as_str()), Some("device")),
        Selection::Peer => (None, Some("peer")),
    };
    LIST.query_latest(&[project.into(), name.into(), purpose.into()], read)
}

/// The exclusions and group ranges of a pool, sorted by address.
fn read_reservations(pool: i32) -> Result<Vec<Reservation>> {
    static LIST: Statement = Statement::new(
        "SELECT first_ip, last_ip, label, for_group FROM nebula.reservation WHERE pool_id = $1
           ORDER BY first_ip",
    );
    LIST.query_latest(&[pool.into()], |row| {
        let first = number(network(&row.need(1)?)?.address);
        let last = number(network(&row.need(2)?)?.address);
        Ok(Reservation { range: first..=last, label: row.need(3)?, for_group: row.need(4)? })
    })
}
