//! Choosing a free address of the pools, and inserting its row.

use std::net::IpAddr;
use std::time::Duration;

use pgrx::Uuid;

use super::request::Request;
use super::wait_backoff::WaitBackoff;
use super::{held, store, usage_threshold};
use crate::free_map::{self, AddressSearch};
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::Statement;
use crate::pools::pool::Pool;

/// Assigns the address that the request asks for. `None`: another session allocated an address to the device
/// meanwhile.
pub(super) fn requested(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<IpAddr>> {
    static HOLDER: Statement = Statement::new(
        "SELECT device_id, quarantined_until::text FROM nebula.allocation WHERE project_id = $1 AND ip = $2",
    );
    // Only lets other sessions skip the address. Whether it is free is decided by the insert, which waits if
    // it must.
    free_map::claim(pool, address);
    if store::insert_waiting(request, pool, address)? || replace_expired(request, pool, address)? {
        usage_threshold::check(pool)?;
        return Ok(Some(address));
    }
    let holder = HOLDER.query_opt(&[request.project.into(), Host(address).into()], |row| {
        Ok((row.need::<Uuid>(1)?, row.get::<String>(2)?))
    })?;
    let reason = match holder {
        Some((device, Some(until))) if device != request.device => {
            format!("in quarantine until {until}: a certificate of device {device} still names it")
        }
        Some((device, None)) if device != request.device => format!("held by device {device}"),
        _ => return Ok(None),
    };
    Err(Error::new(
        Kind::Exists,
        format!("{address} is {reason}"),
        "Choose another address, or omit it to get the lowest free one.",
    ))
}

/// Assigns the lowest free address. `None`: another session allocated an address to the device meanwhile.
pub(super) fn lowest(request: &Request<'_>, pools: &[Pool]) -> Result<Option<IpAddr>> {
    let mut backoff = None;
    loop {
        for pool in pools.iter().filter(|pool| pool.enabled) {
            let mut search = AddressSearch::new(pool);
            while let Some(address) = search.claim_next()? {
                if store::insert(request, pool, address)? || replace_expired(request, pool, address)? {
                    usage_threshold::check_lowest(pool, address)?;
                    return Ok(Some(address));
                }
                if held::find(request, pools)?.is_some() {
                    search.release();
                    return Ok(None);
                }
                search.report_conflict()?;
            }
        }
        // An address that another transaction is about to hold comes free if that one rolls back. So the
        // pools are exhausted only when the table has a row for each address.
        let Some((pool, address)) = next_contended(pools)? else { return Err(exhausted(request, pools)) };
        let backoff = backoff.get_or_insert_with(WaitBackoff::new);
        let timeout = backoff.next_wait().ok_or_else(|| timed_out(request))?;
        free_map::count_wait(pool);
        if wait_and_insert(request, pool, address, timeout)? {
            usage_threshold::check_lowest(pool, address)?;
            return Ok(Some(address));
        }
        if held::find(request, pools)?.is_some() {
            return Ok(None);
        }
    }
}

/// The lowest address that has no row, although another transaction is about to hold it.
fn next_contended(pools: &[Pool]) -> Result<Option<(&Pool, IpAddr)>> {
    for pool in pools.iter().filter(|pool| pool.enabled) {
        if let Some(address) = free_map::lowest_without_row(pool)? {
            return Ok(Some((pool, address)));
        }
    }
    Ok(None)
}

/// Waits up to `timeout` for the transaction that is about to hold an address; `true` when the row was
/// inserted.
fn wait_and_insert(request: &Request<'_>, pool: &Pool, address: IpAddr, timeout: Duration) -> Result<bool> {
    store::delete_expired(pool, address)?;
    store::insert_within(request, pool, address, timeout)
}

/// Assigns an address whose row is in a quarantine that is over; `false`: there is no such row.
fn replace_expired(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    Ok(store::delete_expired(pool, address)? && store::insert_waiting(request, pool, address)?)
}

/// The error when no address is free.
fn exhausted(request: &Request<'_>, pools: &[Pool]) -> Error {
    if !pools.is_empty() && pools.iter().all(|pool| !pool.enabled) {
        return request.pools_disabled(pools);
    }
    let names: Vec<String> =
        pools.iter().map(|pool| format!("\"{}\" ({})", pool.name, pool.network)).collect();
    let (noun, verb) = if names.len() == 1 { ("pool", "is") } else { ("pools", "are") };
    Error::new(
        Kind::Exhausted,
        format!("{noun} {} of project {} {verb} exhausted", names.join(", "), request.project),
        "Release addresses, wait for quarantined ones, or add a pool: SELECT nebula.populate_pool(...).",
    )
}

fn timed_out(request: &Request<'_>) -> Error {
    Error::new(
        Kind::TimedOut,
        format!(
            "other transactions hold the last addresses of project {} and have not ended",
            request.project
        ),
        "Try again when they have committed or rolled back, or raise lock_timeout.",
    )
}
