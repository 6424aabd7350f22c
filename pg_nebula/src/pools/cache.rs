//! Pools that this session has read, kept until some session changes one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use nebula_core::address::number;
use pgrx::{Inet, Uuid};

use super::pool::{Kept, Pool};
use super::project;
use crate::pg::datum::inet::network;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::session::snapshot_is_fixed;
use crate::pg::statement::{Row, Statement};

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
}

/// The pools of a project in the order they are used, or only the one named. Kept until they change; who must not miss
/// a change calls [`crate::free_map::join_allocators`] first.
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
    static LIST: Statement = Statement::new(
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
    let pools = LIST.query(&[project.into(), name.into()], read)?;
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
    static LIST: Statement = Statement::new(
        "SELECT first_ip, last_ip, label, for_group FROM nebula.reservation WHERE pool_id = $1 ORDER BY first_ip",
    );
    LIST.query(&[pool.into()], |row| {
        let first = number(network(&row.need(1)?)?.address);
        let last = number(network(&row.need(2)?)?.address);
        Ok(Kept { range: first..=last, label: row.need(3)?, given: row.need(4)? })
    })
}
