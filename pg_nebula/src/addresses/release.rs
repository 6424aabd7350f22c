//! Releasing an address.

use std::net::IpAddr;

use nebula_core::address::Family;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::request::parse_address;
use super::{linked_table, static_hosts, store};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::limits::{ACTOR, check_text};
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;
use crate::pools::cache::is_for_peers;

#[pg_extern]
fn release_ip(
    device_id: Option<Uuid>,
    released_by: default!(Option<&str>, "NULL"),
    address: default!(Option<Inet>, "NULL"),
    client: default!(Option<Inet>, "NULL"),
) -> sql::Result<Host> {
    let device = required(device_id, "device_id")?;
    address.as_ref().map(parse_address).transpose()?;
    Ok(Host(release(device, released_by, address.as_ref(), client.as_ref())?))
}

#[pg_extern]
fn release_nebula_ip_by_device(device_id: Option<Uuid>) -> sql::Result<Host> {
    Ok(Host(release(required(device_id, "device_id")?, None, None, None)?))
}

// For functions in SQL, when the last node has confirmed that it no longer has the peer.
#[pg_extern]
fn release_peer_ips(p_peer_id: Option<Uuid>, p_released_by: Option<&str>) -> sql::Result<()> {
    let peer = required(p_peer_id, "p_peer_id")?;
    join_allocators()?;
    finish(peer, &store::end_allocations(peer, None)?, p_released_by, None)?;
    Ok(())
}

/// Releases all that a device holds, or only `address`, and returns the address: the IPv4 one of two.
fn release(
    device: Uuid,
    released_by: Option<&str>,
    address: Option<&Inet>,
    client: Option<&Inet>,
) -> Result<IpAddr> {
    check_text("released_by", released_by, ACTOR)?;
    join_allocators()?;
    let ended = store::end_allocations(device, address)?;
    let by_family = |address: &IpAddr| Family::of(*address).bits();
    let Some(released) = ended.iter().map(|row| row.address).min_by_key(by_family) else {
        return Err(as_owner(|| nothing_held(device, address))?);
    };
    for row in &ended {
        if is_for_peers(row.project, row.pool)? {
            return Err(Error::new(
                Kind::WrongState,
                format!("{} is the address of a peer", row.address),
                "It is free when the peer is gone from its node: SELECT nebula.remove_peer(peer_id).",
            ));
        }
    }
    finish(device, &ended, released_by, client)?;
    Ok(released)
}

/// Records ended allocations, and what else follows from them.
fn finish(
    device: Uuid,
    ended: &[store::EndedAllocation],
    released_by: Option<&str>,
    client: Option<&Inet>,
) -> Result<()> {
    let Some(first) = ended.first() else { return Ok(()) };
    for row in ended {
        store::append_log(row, released_by, client)?;
    }
    // Once for both families: all that a device holds is of one project.
    static_hosts::notify_peers(first.project, [device])?;
    if linked_table::may_exist() {
        // Read again: another session may have allocated an address of the other family meanwhile.
        as_owner(|| linked_table::sync(device))?;
    }
    Ok(())
}

/// The error when nothing was released: of `address`, or of all that the device could hold.
fn nothing_held(device: Uuid, address: Option<&Inet>) -> Result<Error> {
    static FORMER: Statement = Statement::new(
        "SELECT FROM nebula.allocation_log WHERE device_id = $1 AND ($2 IS NULL OR ip = $2) LIMIT 1",
    );
    let former = FORMER.exists(&[device.into(), address.cloned().into()])?;
    Ok(match (former, address) {
        (true, _) => Error::new(
            Kind::WrongState,
            format!("device {device} has released {} already", address.map_or("its address", |one| one)),
            "Nothing is left to do; see nebula.allocation_history.",
        ),
        (false, Some(address)) => Error::new(
            Kind::Missing,
            format!("device {device} does not hold {}", &**address),
            format!("Look at what it holds: SELECT ip FROM nebula.device_allocation('{device}')."),
        ),
        (false, None) => Error::new(
            Kind::Missing,
            format!("device {device} holds no address"),
            "Look for it: SELECT device_id, name, ip FROM nebula.device_status.",
        ),
    })
}
