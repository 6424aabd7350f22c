//! The whole allocation for a new device whose request has no options, with the caller's privileges: that
//! saves becoming the owner of the extension, and looking for an address that the device holds already.

use std::net::IpAddr;

use super::request::Request;
use super::{linked_table, one_project, static_hosts, store, usage_threshold};
use crate::free_map::AddressSearch;
use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pg::session::snapshot_is_fixed;
use crate::pools::cache::cached_pools;

/// `None`: the request needs the general path. Nothing was changed.
pub(super) fn allocate(request: &Request<'_>) -> Result<Option<IpAddr>> {
    let has_options = request.address.is_some()
        || request.label.is_some()
        || request.pool.is_some()
        || request.family.is_some();
    if has_options || snapshot_is_fixed() {
        return Ok(None);
    }
    let Some(pools) = cached_pools(request.project) else { return Ok(None) };
    if pools.iter().any(|pool| pool.has_group_ranges())
        || static_hosts::is_static_host(request.device)?
        || static_hosts::are_named_by_rules(request.project)?
        || store::has_rows(request.device)?
    {
        return Ok(None);
    }
    for pool in pools.iter().filter(|pool| pool.enabled) {
        let mut search = AddressSearch::new(pool);
        let Some(address) = search.claim_next()? else { continue };
        if !store::insert(request, pool, address)? {
            search.release();
            return Ok(None);
        }
        one_project::require(request.project, [request.device])?;
        if usage_threshold::may_cross(pool, address) {
            as_owner(|| usage_threshold::check(pool))?;
        }
        if linked_table::may_exist() {
            linked_table::sync_allocated(request.device, address)?;
        }
        return Ok(Some(address));
    }
    Ok(None)
}
