//! One address for a peer, from the pools for peers.

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::allocate::requested_address;
use super::request::{Request, parse_address, parse_family};
use super::{assign, held, linked_table};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::privilege::as_owner;
use crate::pools::cache::{interface_pools_of, peer_pools_of};
use crate::pools::pool::{Pool, Purpose};

// The caller has made sure that the peer is new, and has locked the row of the interface.
#[pg_extern]
fn allocate_peer_ip(
    p_project_id: Option<Uuid>,
    p_peer_id: Option<Uuid>,
    p_interface_id: Option<Uuid>,
    p_family: Option<i32>,
    p_address: Option<Inet>,
    p_allocated_by: Option<&str>,
    p_client: Option<Inet>,
) -> sql::Result<Option<Host>> {
    let request = Request {
        allocated_by: p_allocated_by,
        address: p_address.as_ref().map(parse_address).transpose()?,
        family: Some(parse_family(required(p_family, "p_family")?)?),
        client: p_client,
        purpose: Purpose::Peer,
        ..Request::new(required(p_project_id, "p_project_id")?, required(p_peer_id, "p_peer_id")?)
    };
    let interface = required(p_interface_id, "p_interface_id")?;
    join_allocators()?;
    Ok(as_owner(|| allocate(&request, interface))?)
}

/// The address asked for, of whatever pool for peers, or the lowest free one of the pools of the interface.
/// `None`: the interface has no pool of the family, or only full ones.
fn allocate(request: &Request<'_>, interface: Uuid) -> Result<Option<Host>> {
    // An address that is asked for can be of a pool of another interface.
    let pools = match request.address {
        Some(_) => peer_pools_of(request.project)?,
        None => interface_pools_of(request.project, interface)?,
    };
    let is_wanted = |pool: &&Pool| {
        Some(pool.network.family()) == request.family
            && (request.address.is_some() || pool.enabled && pool.interface == Some(interface))
    };
    let pools: Vec<Pool> = pools.iter().filter(is_wanted).cloned().collect();
    let allocated = match requested_address(request, &pools)? {
        Some((pool, address)) => assign::requested(request, pool, address)?,
        None if pools.is_empty() => return Ok(None),
        None => match assign::lowest(request, &pools) {
            Err(error) if error.kind() == Kind::Exhausted => return Ok(None),
            allocated => allocated?,
        },
    };
    let Some(address) = allocated else {
        // Either is an error: the identifier is that of a device, or two sessions create the same peer.
        held::find(request, &pools)?;
        return Err(Error::new(
            Kind::Exists,
            format!("peer {} is being created by another session", request.device),
            "Use a fresh identifier, or repeat the call.",
        ));
    };
    if linked_table::may_exist() {
        linked_table::sync(request.device)?;
    }
    Ok(Some(Host(address)))
}
