//! The rows of allocations: each operation once in SQL ([`sql`]) and once below SQL ([`direct`]), which is
//! faster.
//!
//! The functions here are the only way to these operations. They try the direct variant first, where
//! `nebula.direct_writes` is on; when it cannot do the work (a trigger, a rule, a constraint that fails, a
//! row that others are changing), it leaves everything as it was, and SQL does the work or raises the error.
//! Direct variants run with the caller's privileges, because to become the owner costs as much as their work;
//! SQL runs as the owner.

mod any_row;
mod direct;
mod sql;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::request::Request;
use crate::direct::{CacheToken, is_on};
use crate::free_map;
use crate::pg::error::Result;
use crate::pg::privilege::{as_owner, as_owner_by_index};
use crate::pg::settings;
use crate::pools::pool::Pool;
use direct::Direct;
use sql::Sql;

/// The operations, and whether their direct variants are used at all: one is kept only where it is measurably
/// faster.
mod has_direct {
    pub(super) const HAS_ROWS: bool = true;
    pub(super) const INSERT: bool = true;
    pub(super) const INSERT_MANY: bool = true;
    pub(super) const END_ALLOCATIONS: bool = true;
    pub(super) const APPEND_LOG: bool = true;
}

/// The operations of both implementations. `None` of an `Option`: nothing was done, the operation needs SQL.
trait AddressStore {
    /// Whether a device has a row: it holds an address, or an address is in quarantine for it. Part of every
    /// allocation, and 12 % of its processor time when it is SQL.
    fn has_rows(device: Uuid) -> Result<Option<bool>>;

    /// Inserts the allocation of an address to the device of the request; `false`: there is a row with that
    /// address, perhaps of a transaction in progress, or one of that device and address family.
    fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<bool>>;

    /// Inserts the allocations of many devices; `false`: none, because there is a row with one of those
    /// addresses or devices, perhaps of a transaction in progress.
    fn insert_many(request: &Request<'_>, pool: &Pool, pairs: &[Pair]) -> Result<Option<bool>>;

    /// Ends the allocations of a device, or only that of `address`: deletes the rows, or puts them in
    /// quarantine until the last valid certificate of the device expires.
    fn end_allocations(device: Uuid, address: Option<&Inet>) -> Result<Option<Vec<EndedAllocation>>>;

    /// Appends an ended allocation to nebula.allocation_log.
    fn append_log(ended: &EndedAllocation, by: Option<&str>, client: Option<&Inet>) -> Result<Option<()>>;
}

/// A device and the address allocated to it.
pub(super) type Pair = (Uuid, IpAddr);

/// Why the configurations of other devices name a device.
#[derive(Clone, Copy)]
pub(super) enum StaticHostReason {
    /// It is a lighthouse or relay.
    Role,
    /// Networks lie behind it.
    Route,
}

/// An allocation that has ended, as it was.
pub(super) struct EndedAllocation {
    pub(super) project: Uuid,
    pub(super) pool: i32,
    pub(super) address: IpAddr,
    device: Uuid,
    allocated_at: TimestampWithTimeZone,
    allocated_by: Option<String>,
    allocated_from: Option<Inet>,
}

/// Whether a device has a row: it holds an address, or an address is in quarantine for it. Rows of
/// transactions in flight are not visible.
pub(super) fn has_rows(device: Uuid) -> Result<bool> {
    if has_direct::HAS_ROWS
        && is_on()
        && let Some(has_rows) = Direct::has_rows(device)?
    {
        return Ok(has_rows);
    }
    as_owner_by_index(|| Sql::has_rows(device)).map(|has_rows| has_rows == Some(true))
}

/// Inserts the allocation of an address; `false`: there is a row with that address, perhaps of a transaction
/// in progress, or a committed one of that device. Waits for a transaction that is about to insert a row of
/// the device, and for no other. The caller has claimed the address by a search.
pub(super) fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    let directly =
        if inserts_directly(has_direct::INSERT) { Direct::insert(request, pool, address)? } else { None };
    let inserted = match directly {
        None => as_owner(|| Sql::insert(request, pool, address))? == Some(true),
        Some(inserted) => inserted,
    };
    if inserted {
        free_map::record_inserted(pool, address);
    }
    Ok(inserted)
}

/// As [`insert`], but also waits for a transaction that is about to insert or delete a row with the address,
/// which need not be claimed.
pub(super) fn insert_waiting(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    let inserted = as_owner(|| sql::insert_waiting(request, pool, address))?;
    if inserted {
        free_map::claim_inserted(pool, address);
    }
    Ok(inserted)
}

/// The rows of a device, also of transactions in progress.
pub(super) use any_row::of_device;

/// As [`insert_waiting`], but waits for a limited time. Needs the owner's privileges.
pub(super) fn insert_within(
    request: &Request<'_>,
    pool: &Pool,
    address: IpAddr,
    timeout: Duration,
) -> Result<bool> {
    let inserted = sql::insert_within(request, pool, address, timeout)?;
    if inserted {
        free_map::claim_inserted(pool, address);
    }
    Ok(inserted)
}

/// Deletes the row of an address whose quarantine is over. Needs the owner's privileges.
pub(super) use sql::delete_expired;

/// Inserts the allocations of many devices; `false`: none, because there is a row with one of those addresses
/// or devices, perhaps of a transaction in progress. The caller has claimed the addresses by searches.
pub(super) fn insert_many(request: &Request<'_>, pool: &Pool, pairs: &[Pair]) -> Result<bool> {
    let directly = if inserts_directly(has_direct::INSERT_MANY) {
        Direct::insert_many(request, pool, pairs)?
    } else {
        None
    };
    let inserted = match directly {
        None => as_owner(|| Sql::insert_many(request, pool, pairs))? == Some(true),
        Some(inserted) => inserted,
    };
    if inserted {
        pairs.iter().for_each(|(_, address)| free_map::record_inserted(pool, *address));
    }
    Ok(inserted)
}

/// Ends the allocations of a device, or only that of `address`; see [`AddressStore::end_allocations`].
pub(super) fn end_allocations(device: Uuid, address: Option<&Inet>) -> Result<Vec<EndedAllocation>> {
    if has_direct::END_ALLOCATIONS
        && is_on()
        && let Some(ended) = Direct::end_allocations(device, address)?
    {
        return Ok(ended);
    }
    as_owner_by_index(|| Sql::end_allocations(device, address)).map(Option::unwrap_or_default)
}

/// Appends an ended allocation to nebula.allocation_log.
pub(super) fn append_log(ended: &EndedAllocation, by: Option<&str>, client: Option<&Inet>) -> Result<()> {
    if inserts_directly(has_direct::APPEND_LOG) && Direct::append_log(ended, by, client)?.is_some() {
        return Ok(());
    }
    as_owner(|| Sql::append_log(ended, by, client)).map(drop)
}

/// All devices that are static hosts for this reason, with a token that expires when that may have changed.
/// SQL only: a session reads them once after each change.
pub(super) fn static_hosts(reason: StaticHostReason) -> Result<(HashSet<Uuid>, CacheToken)> {
    // Before the rows are read: a change that arrives meanwhile makes the token expire.
    let token = direct::static_hosts_token(reason)?;
    Ok((as_owner(|| sql::static_hosts(reason))?, token))
}

/// The projects whose firewall rules name devices or groups.
pub(super) fn projects_with_named_devices() -> Result<(HashSet<Uuid>, CacheToken)> {
    let token = direct::firewall_rules_token()?;
    Ok((as_owner(sql::projects_with_named_devices)?, token))
}

/// Whether rows are inserted below SQL. In REPEATABLE READ and stricter too: there INSERT fails with SQLSTATE
/// 40001 at a row that the snapshot does not show, while a direct insert reports the conflict, and the search
/// goes on.
fn inserts_directly(has_direct: bool) -> bool {
    has_direct && settings::direct_writes()
}
