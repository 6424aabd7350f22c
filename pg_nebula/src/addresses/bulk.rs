//! Addresses for many devices in one call.

use crate::pg::catalog::join_allocators;
use crate::pg::error::sql;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::allocate::{allocate, check_lease, family_numbered};
use super::linked_table;
use super::request::{Request, of_family};
use super::row::write_all;
use super::static_hosts::all_moved;
use super::usage_threshold;
use crate::direct::InsertOutcome;
use crate::free_map::{self, Search};
use crate::pg::datum::inet::Host;
use crate::pg::datum::inet::network;
use crate::pg::error::{Result, required};
use crate::pg::statement::Statement;
use crate::pools::cache::pools_of;
use crate::pools::pool::Pool;

/// Most rows of one insert: enough to make the statement's own cost vanish, few enough to keep its arrays small.
const CHUNK: usize = 1 << 16;

/// Devices looked at to see whether a batch is a repetition.
const SAMPLE: usize = 16;

/// The work of allocate_ips: the addresses of the devices, in the order given; null for a device named before.
///
/// An array and no set, because a set would leave and enter the function for each row. Errors: as allocate_ip.
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
    let mut seen = HashSet::new();
    let mut devices = Vec::new();
    let mut unique = Vec::new();
    for device in required(device_ids, "device_ids")? {
        let device = required(device, "a device of device_ids")?;
        devices.push(device);
        if seen.insert(device) {
            unique.push(device);
        }
    }
    let request = Request {
        allocated_by,
        pool,
        lease,
        label,
        family: family.map(family_numbered).transpose()?,
        client,
        ..Request::new(required(project_id, "project_id")?, Uuid::from_bytes([0; 16]))
    };
    let mut held: HashMap<Uuid, IpAddr> = allocate_all(request, &unique)?.into_iter().collect();
    Ok(devices.iter().map(|device| held.remove(device).map(Host)).collect())
}

/// What several devices got, in any order.
fn allocate_all(mut request: Request<'_>, devices: &[Uuid]) -> Result<Vec<(Uuid, IpAddr)>> {
    check_lease(request.lease)?;
    join_allocators()?;
    let all = pools_of(request.project, request.pool)?;
    let pools = of_family(&all, &request)?;
    // Ranges of groups go by the device.
    let plain = request.label.is_none() && pools.iter().all(|pool| pool.kept.iter().all(|kept| !kept.given));
    let mut held = Vec::with_capacity(devices.len());
    let mut rest = devices.to_vec();
    if plain {
        let mut kept = HashSet::new();
        let known = known(devices)?;
        if !known.is_empty() && request.lease.is_none() && request.pool.is_none() && request.family.is_none()
        {
            held = keep(&request, &known)?;
            kept.extend(held.iter().map(|(device, _)| *device));
        }
        let known: HashSet<Uuid> = known.into_iter().collect();
        let new: Vec<Uuid> = devices.iter().filter(|device| !known.contains(device)).copied().collect();
        rest = devices
            .iter()
            .filter(|device| known.contains(device) && !kept.contains(device))
            .copied()
            .collect();
        let before = held.len();
        let mut new = new.as_slice();
        for pool in pools.iter().filter(|pool| pool.enabled) {
            while !new.is_empty() {
                let addresses = lowest(pool, new.len().min(CHUNK))?;
                if addresses.is_empty() {
                    break;
                }
                let pairs: Vec<(Uuid, IpAddr)> = new.iter().copied().zip(addresses).collect();
                new = &new[pairs.len()..];
                hold(&request, pool, &pairs, &mut held, &mut rest)?;
            }
        }
        linked_table::sync_all(&held[before..])?;
        all_moved(request.project, held[before..].iter().map(|(device, _)| *device))?;
        rest.extend(new);
    }
    // One by one: what is not as usual, what takes from a range, what lost a race, and what may have to wait. Batches that
    // share devices wait for each other in one order, so none for one that waits for it.
    rest.sort_unstable();
    for device in rest {
        request.device = device;
        held.push((device, allocate(&request)?));
    }
    Ok(held)
}

/// Devices that hold an address, or may have one back from quarantine.
///
/// Whether new ones hold one the insert will say, so they are looked up only when it is likely: when a few of them do.
fn known(devices: &[Uuid]) -> Result<Vec<Uuid>> {
    static FORMER: Statement = Statement::new(
        "SELECT device_id FROM nebula.allocation WHERE quarantined_until IS NOT NULL AND device_id = ANY ($1)",
    );
    static HELD: Statement = Statement::new(
        "SELECT device_id FROM nebula.allocation WHERE released_at IS NULL AND device_id = ANY ($1)",
    );
    let mut known = FORMER.query(&[devices.to_vec().into()], |row| row.need(1))?;
    let sample: Vec<Uuid> = devices.iter().step_by((devices.len() / SAMPLE).max(1)).copied().collect();
    if HELD.exists(&[sample.into()])? {
        known.extend(HELD.query(&[devices.to_vec().into()], |row| row.need::<Uuid>(1))?);
    }
    Ok(known)
}

/// What devices hold in the project: the IPv4 address of one that holds two. Locked like what allocate_ip answers
/// again, so that a release waits for a certificate signed in this transaction.
fn keep(request: &Request<'_>, devices: &[Uuid]) -> Result<Vec<(Uuid, IpAddr)>> {
    static KEEP: Statement = Statement::new(
        "SELECT device_id, ip FROM nebula.allocation
          WHERE project_id = $1 AND device_id = ANY ($2) AND released_at IS NULL FOR SHARE",
    );
    let mut held = KEEP.query(&[request.project.into(), devices.to_vec().into()], |row| {
        Ok((row.need::<Uuid>(1)?, network(&row.need(2)?)?.address))
    })?;
    held.sort_unstable();
    held.dedup_by_key(|(device, _)| *device);
    Ok(held)
}

/// Up to `count` free addresses of a pool, from the lowest.
fn lowest(pool: &Pool, count: usize) -> Result<Vec<IpAddr>> {
    let mut search = Search::new(pool);
    let mut addresses = Vec::with_capacity(count);
    while addresses.len() < count {
        let Some(address) = search.take()? else { break };
        addresses.push(address);
    }
    Ok(addresses)
}

/// Inserts pairs of device and address, or leaves all those devices to `rest`: when another session was quicker, or the
/// table needs SQL.
fn hold(
    request: &Request<'_>,
    pool: &Pool,
    pairs: &[(Uuid, IpAddr)],
    held: &mut Vec<(Uuid, IpAddr)>,
    rest: &mut Vec<Uuid>,
) -> Result<()> {
    if write_all(request, pool, pairs)? != InsertOutcome::Inserted {
        for (device, address) in pairs {
            free_map::end_claim(pool, *address, false);
            rest.push(*device);
        }
        return Ok(());
    }
    held.extend_from_slice(pairs);
    match pairs.iter().map(|(_, address)| *address).max() {
        Some(highest) => usage_threshold::watch(pool, highest),
        None => Ok(()),
    }
}
