//! Addresses for many devices in one call.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::allocate::general_path;
use super::request::{Request, parse_family};
use super::{linked_table, one_project, static_hosts, store, usage_threshold};
use crate::free_map::{self, AddressSearch};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::{Host, network};
use crate::pg::error::{Result, required, sql};
use crate::pg::statement::Statement;
use crate::pg::subtransaction::commit_if;
use crate::pools::cache::pools_of;
use crate::pools::pool::Pool;

/// Rows per insert at most: enough that the cost of the statement does not matter, few enough to keep its
/// arrays small.
const MAX_ROWS: usize = 1 << 16;

/// Devices that are looked up to guess whether a call repeats an earlier one.
const SAMPLE: usize = 16;

// Returns an array, not a set: a set-returning function is entered again for each row.
#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "all that allocate_ips takes")]
fn allocate_batch(
    project_id: Option<Uuid>,
    device_ids: Option<Vec<Option<Uuid>>>,
    allocated_by: Option<&str>,
    pool: Option<&str>,
    lease: Option<Interval>,
    label: Option<&str>,
    family: Option<i32>,
    client: Option<Inet>,
) -> sql::Result<Vec<Option<Host>>> {
    let devices: Vec<Uuid> = required(device_ids, "device_ids")?
        .into_iter()
        .map(|device| required(device, "a device of device_ids"))
        .collect::<Result<_>>()?;
    let request = Request {
        allocated_by,
        pool,
        lease,
        label,
        family: family.map(parse_family).transpose()?,
        client,
        ..Request::new(required(project_id, "project_id")?, Uuid::from_bytes([0; 16]))
    };
    let mut seen = HashSet::new();
    let unique: Vec<Uuid> = devices.iter().copied().filter(|device| seen.insert(*device)).collect();
    let mut allocated: HashMap<Uuid, IpAddr> = allocate_all(request, &unique)?.into_iter().collect();
    Ok(devices.iter().map(|device| allocated.remove(device).map(Host)).collect())
}

/// The addresses of several devices, in any order.
fn allocate_all(mut request: Request<'_>, devices: &[Uuid]) -> Result<Vec<(Uuid, IpAddr)>> {
    request.check()?;
    join_allocators()?;
    let all = pools_of(request.project, request.pool)?;
    let pools = request.matching_pools(&all)?;
    let mut bulk = Bulk { held: Vec::with_capacity(devices.len()), rest: devices.to_vec() };
    // Which range of a group an address is taken from depends on the device.
    if request.label.is_none() && !pools.iter().any(Pool::has_group_ranges) {
        bulk.allocate_together(&request, &pools, devices)?;
    }
    // One by one: devices that have a row, that take from a range, that lost a race, and that may have to
    // wait. Calls that share devices wait for each other in the order of the devices, so that they do not
    // deadlock.
    bulk.rest.sort_unstable();
    for device in bulk.rest {
        request.device = device;
        bulk.held.push((device, general_path(&request)?));
    }
    Ok(bulk.held)
}

/// A call in progress.
struct Bulk {
    /// Devices that are done, with their addresses.
    held: Vec<(Uuid, IpAddr)>,
    /// Devices that are left.
    rest: Vec<Uuid>,
}

impl Bulk {
    fn allocate_together(&mut self, request: &Request<'_>, pools: &[Pool], devices: &[Uuid]) -> Result<()> {
        let with_rows = devices_with_rows(devices)?;
        if !with_rows.is_empty()
            && request.lease.is_none()
            && request.pool.is_none()
            && request.family.is_none()
        {
            self.held = confirm(request, pools, &with_rows)?;
        }
        let confirmed: HashSet<Uuid> = self.held.iter().map(|(device, _)| *device).collect();
        let with_rows: HashSet<Uuid> = with_rows.into_iter().collect();
        let (with_rows, new): (Vec<Uuid>, Vec<Uuid>) =
            devices.iter().partition(|device| with_rows.contains(device));
        self.rest = with_rows.into_iter().filter(|device| !confirmed.contains(device)).collect();
        match claim_all(pools, &new)? {
            Some(chunks) if insert_all(request, &chunks)? => {
                for (pool, pairs) in &chunks {
                    self.held.extend_from_slice(pairs);
                    if let Some(highest) = pairs.iter().map(|(_, address)| *address).max() {
                        usage_threshold::check_lowest(pool, highest)?;
                    }
                }
            }
            chunks => {
                release_all(&chunks.unwrap_or_default());
                self.rest.extend(new);
            }
        }
        let inserted = &self.held[confirmed.len()..];
        one_project::require(request.project, inserted.iter().map(|(device, _)| *device))?;
        linked_table::sync_all(inserted)?;
        static_hosts::notify_peers(request.project, inserted.iter().map(|(device, _)| *device))
    }
}

/// A pool, and devices with addresses of it.
type Chunk<'a> = (&'a Pool, Vec<store::Pair>);

/// Claims an address for each device. `None`: there are too few, and none is claimed.
fn claim_all<'a>(pools: &'a [Pool], devices: &[Uuid]) -> Result<Option<Vec<Chunk<'a>>>> {
    let mut chunks = Vec::new();
    let mut left = devices;
    for pool in pools.iter().filter(|pool| pool.enabled) {
        while !left.is_empty() {
            let addresses = claim_lowest(pool, left.len().min(MAX_ROWS))?;
            if addresses.is_empty() {
                break;
            }
            let pairs: Vec<store::Pair> = left.iter().copied().zip(addresses).collect();
            left = &left[pairs.len()..];
            chunks.push((pool, pairs));
        }
    }
    if left.is_empty() {
        return Ok(Some(chunks));
    }
    release_all(&chunks);
    Ok(None)
}

/// Inserts the rows of all devices; `false`: none, because another session was faster. A part of them would
/// not do: this transaction would hold those while it waits for the others, in no order.
fn insert_all(request: &Request<'_>, chunks: &[Chunk<'_>]) -> Result<bool> {
    let insert = || {
        for (pool, pairs) in chunks {
            if !store::insert_many(request, pool, pairs)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    commit_if(insert, |inserted| matches!(inserted, Ok(true)))
}

fn release_all(chunks: &[Chunk<'_>]) {
    for (pool, pairs) in chunks {
        pairs.iter().for_each(|(_, address)| free_map::release_claim(pool, *address));
    }
}

/// Devices that have a row: they hold an address, or may get one back from quarantine.
///
/// The insert finds devices that hold an address anyway, so those are looked up only if some of a sample do:
/// then the call probably repeats an earlier one.
fn devices_with_rows(devices: &[Uuid]) -> Result<Vec<Uuid>> {
    static IN_QUARANTINE: Statement = Statement::new(
        "SELECT device_id FROM nebula.allocation WHERE quarantined_until IS NOT NULL
           AND device_id = ANY ($1)",
    );
    static HELD: Statement = Statement::new(
        "SELECT device_id FROM nebula.allocation WHERE released_at IS NULL AND device_id = ANY ($1)",
    );
    let mut found = IN_QUARANTINE.query(&[devices.to_vec().into()], |row| row.need(1))?;
    let sample: Vec<Uuid> = devices.iter().step_by((devices.len() / SAMPLE).max(1)).copied().collect();
    if HELD.exists(&[sample.into()])? {
        found.extend(HELD.query(&[devices.to_vec().into()], |row| row.need::<Uuid>(1))?);
    }
    Ok(found)
}

/// Addresses of devices in the project: the IPv4 one where a device holds two. The rows are locked as by
/// allocate_ip, so that a release waits and sees a certificate that this transaction signs.
fn confirm(request: &Request<'_>, pools: &[Pool], devices: &[Uuid]) -> Result<Vec<(Uuid, IpAddr)>> {
    static LOCK: Statement = Statement::new(
        "SELECT device_id, ip FROM nebula.allocation
          WHERE project_id = $1 AND device_id = ANY ($2) AND released_at IS NULL AND pool_id = ANY ($3)
            FOR SHARE",
    );
    let pools: Vec<i32> = pools.iter().map(|pool| pool.id).collect();
    let mut held = LOCK.query(&[request.project.into(), devices.to_vec().into(), pools.into()], |row| {
        Ok((row.need::<Uuid>(1)?, network(&row.need(2)?)?.address))
    })?;
    held.sort_unstable();
    held.dedup_by_key(|(device, _)| *device);
    Ok(held)
}

/// Claims up to `count` free addresses of a pool, from the lowest.
fn claim_lowest(pool: &Pool, count: usize) -> Result<Vec<IpAddr>> {
    let mut search = AddressSearch::new(pool);
    let mut addresses = Vec::with_capacity(count);
    while addresses.len() < count {
        let Some(address) = search.claim_next()? else { break };
        addresses.push(address);
    }
    Ok(addresses)
}
