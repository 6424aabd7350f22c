//! Taking a free address.

use crate::pg::session;
use std::net::IpAddr;

use pgrx::Uuid;
use pgrx::datum::DatumWithOid;

use super::linked_table;
use super::request::{Request, disabled, holding};
use super::row;
use super::row::{ALLOCATION, BY_DEVICE};
use super::usage_threshold;
use super::wait_backoff::WaitBackoff;
use crate::direct::InsertOutcome;
use crate::free_map::{self, Search};
use crate::pg::catalog;
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;
use crate::pools::pool::Pool;

/// `None` when the device got an address from another session meanwhile.
pub(super) fn take_exactly(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<IpAddr>> {
    static HOLDER: Statement = Statement::new(
        "SELECT device_id, quarantined_until::text FROM nebula.allocation WHERE project_id = $1 AND ip = $2",
    );
    // Only so that others pass it by; whether it is ours the insert says, waiting if it must.
    free_map::claim(pool, address)?;
    if hold(request, pool, address)? {
        usage_threshold::look(pool)?;
        return Ok(Some(address));
    }
    let holder = HOLDER.query_opt(&[request.project.into(), Host(address).into()], |row| {
        Ok((row.need::<Uuid>(1)?, row.get::<String>(2)?))
    })?;
    match holder {
        Some((device, Some(until))) if device != request.device => Err(Error::new(
            Kind::Exists,
            format!(
                "{address} is in quarantine until {until}: a certificate of device {device} still names it"
            ),
            "Choose another address, or leave it away to get the lowest free one.",
        )),
        Some((device, None)) if device != request.device => Err(Error::new(
            Kind::Exists,
            format!("{address} is held by device {device}"),
            "Choose another address, or leave it away to get the lowest free one.",
        )),
        _ => Ok(None),
    }
}

/// The whole work for a device that is new, with the caller's privileges; `None` when anything is not as usual.
pub(super) fn fast_path(request: &Request<'_>, pools: &[Pool]) -> Result<Option<IpAddr>> {
    if session::snapshot_is_fixed() {
        return Ok(None);
    }
    let table = ALLOCATION.open_for_writing()?;
    if table.contains(BY_DEVICE, request.device)? {
        return Ok(None);
    }
    for pool in pools.iter().filter(|pool| pool.enabled) {
        let mut search = Search::new(pool);
        let Some(address) = search.take()? else { continue };
        let written = match row::write(&table, request, pool, address) {
            InsertOutcome::UseSql => as_owner(|| insert(request, pool, address))?,
            written => written == InsertOutcome::Inserted,
        };
        if !written {
            search.give_back();
            return Ok(None);
        }
        if usage_threshold::is_due(pool, address) {
            as_owner(|| usage_threshold::watch(pool, address))?;
        }
        if linked_table::may_exist() {
            linked_table::sync_allocated(request.device, address)?;
        }
        return Ok(Some(address));
    }
    Ok(None)
}

/// `None` when the device got an address from another session meanwhile.
pub(super) fn take_lowest(request: &Request<'_>, pools: &[Pool]) -> Result<Option<IpAddr>> {
    let mut patience = None;
    loop {
        for pool in pools.iter().filter(|pool| pool.enabled) {
            let mut search = Search::new(pool);
            while let Some(address) = search.take()? {
                if hold_unless_taken(request, pool, address)? {
                    usage_threshold::watch(pool, address)?;
                    return Ok(Some(address));
                }
                if holding(request, pools)?.is_some() {
                    search.give_back();
                    return Ok(None);
                }
                search.missed();
            }
        }
        // Whatever another transaction has in flight may come back, so nothing is exhausted yet.
        let Some((pool, address)) = next_contended(pools)? else { return Err(exhausted(request, pools)?) };
        refuse_old_snapshot(request)?;
        let patience = patience.get_or_insert_with(WaitBackoff::new);
        let wait = patience.next().ok_or_else(|| timed_out(request))?;
        free_map::waited(pool);
        if insert_patiently(request, pool, address, wait)? {
            free_map::inserted(pool, address);
            usage_threshold::watch(pool, address)?;
            return Ok(Some(address));
        }
        if holding(request, pools)?.is_some() {
            return Ok(None);
        }
    }
}

/// The lowest address without a row: another transaction is about to hold it.
fn next_contended(pools: &[Pool]) -> Result<Option<(&Pool, IpAddr)>> {
    for pool in pools.iter().filter(|pool| pool.enabled) {
        if let Some(address) = free_map::lowest_without_row(pool)? {
            return Ok(Some((pool, address)));
        }
    }
    Ok(None)
}

/// Waits for whoever is about to hold an address, but not longer than `patience`; `true` when it then was ours.
fn insert_patiently(
    request: &Request<'_>,
    pool: &Pool,
    address: IpAddr,
    patience: std::time::Duration,
) -> Result<bool> {
    static WAIT: Statement = Statement::new("SELECT nebula.hold_when_free($1, $2, $3, $4, $5, $6, $7, $8)");
    expire(pool, address)?;
    let mut arguments = Vec::from(arguments(request, pool, address));
    arguments.push(i32::try_from(patience.as_millis()).unwrap_or(i32::MAX).into());
    Ok(WAIT.query_opt(&arguments, |row| row.need(1))?.unwrap_or(false))
}

/// Tries to hold an address that was claimed, whose quarantine may be over.
pub(super) fn hold(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    Ok(insert(request, pool, address)? || hold_expired(request, pool, address)?)
}

/// Tries to hold an address whose quarantine is over.
fn hold_expired(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    let held = expire(pool, address)? && insert(request, pool, address)?;
    if held {
        // The row deleted before told the map that the address is free.
        free_map::inserted(pool, address);
    }
    Ok(held)
}

/// The same for one of many addresses: passes one by that somebody else is about to hold, instead of waiting for him, who
/// may wait for us. For a device that somebody else allocates for it waits.
fn hold_unless_taken(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    match row::write(&ALLOCATION.open_for_writing()?, request, pool, address) {
        InsertOutcome::Inserted => Ok(true),
        InsertOutcome::Conflict(index) if index == catalog::relation(c"allocation_pkey")? => {
            hold_expired(request, pool, address)
        }
        InsertOutcome::Conflict(_) | InsertOutcome::UseSql => hold(request, pool, address),
    }
}

/// What the statements that insert a row take, in this order.
fn arguments<'a>(request: &Request<'a>, pool: &Pool, address: IpAddr) -> [DatumWithOid<'a>; 7] {
    [
        request.project.into(),
        pool.id.into(),
        Host(address).into(),
        request.device.into(),
        request.allocated_by.into(),
        request.lease.into(),
        request.client.clone().into(),
    ]
}

/// Tries to hold an address; `false` when the address or the device is taken. Waits for a transaction in flight.
pub(super) fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by, lease_until, client)
         VALUES ($1, $2, $3, $4, coalesce($5, session_user::text), now() + $6,
                 coalesce($7, inet_client_addr()))
         ON CONFLICT DO NOTHING",
    );
    Ok(INSERT.execute(&arguments(request, pool, address))? == 1)
}

/// Forgets a quarantine that is over; `false` when there is none. Its holding was logged when it was released.
pub(super) fn expire(pool: &Pool, address: IpAddr) -> Result<bool> {
    static EXPIRE: Statement = Statement::new(
        "DELETE FROM nebula.allocation
          WHERE project_id = $1 AND ip = $2 AND quarantined_until <= clock_timestamp() RETURNING ip",
    );
    EXPIRE.exists(&[pool.project.into(), Host(address).into()])
}

/// The error for a search that found nothing. Only a fresh snapshot can tell that, hence the check first.
fn exhausted(request: &Request<'_>, pools: &[Pool]) -> Result<Error> {
    refuse_old_snapshot(request)?;
    if !pools.is_empty() && pools.iter().all(|pool| !pool.enabled) {
        return Ok(disabled(request, pools));
    }
    let names: Vec<String> =
        pools.iter().map(|pool| format!("\"{}\" ({})", pool.name, pool.network)).collect();
    let (word, verb) = if names.len() == 1 { ("pool", "is") } else { ("pools", "are") };
    Ok(Error::new(
        Kind::Exhausted,
        format!("{word} {} of project {} {verb} exhausted", names.join(", "), request.project),
        "Release addresses, wait for quarantined ones, or add a pool: SELECT nebula.populate_pool(...).",
    ))
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

/// In REPEATABLE READ and stricter, looking again would show the same rows for ever.
fn refuse_old_snapshot(request: &Request<'_>) -> Result<()> {
    if !session::snapshot_is_fixed() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Retry,
        format!(
            "this transaction's snapshot shows no free address in project {} and may be too old to tell",
            request.project
        ),
        "Run the transaction again, or allocate in READ COMMITTED.",
    ))
}
