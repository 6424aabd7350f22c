//! Taking a free address.

use std::net::IpAddr;

use pgrx::{Inet, Uuid};

use super::{Request, holding};
use crate::error::{Error, Kind, Result};
use crate::map::{Patience, Search, Take, mark};
use crate::plan::Plan;
use crate::pool::Pool;

/// `None` when the device got an address from another session meanwhile.
pub(super) fn take_exactly(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<IpAddr>> {
    static HOLDER: Plan = Plan::new(
        "SELECT device_id, quarantined_until::text FROM nebula.allocation WHERE project_id = $1 AND ip = $2",
    );
    // Only so that others pass it by; whether it is ours the insert says, waiting if it must.
    mark(pool, address)?;
    if insert(request, pool, address)? || (expire(pool, address)? && insert(request, pool, address)?) {
        return Ok(Some(address));
    }
    let holder = HOLDER.first(&[request.project.into(), Inet(address.to_string()).into()], |row| {
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

/// `None` when the device got an address from another session meanwhile.
pub(super) fn take_lowest(request: &Request<'_>, pools: &[Pool]) -> Result<Option<IpAddr>> {
    let mut patience = None;
    loop {
        let mut busy = None;
        for pool in pools {
            let mut search = Search::new(pool);
            loop {
                match search.take()? {
                    Take::Address(address) => {
                        if insert(request, pool, address)?
                            || (expire(pool, address)? && insert(request, pool, address)?)
                        {
                            return Ok(Some(address));
                        }
                        if holding(request, pools)?.is_some() {
                            return Ok(None);
                        }
                        search.missed();
                    }
                    Take::Busy => {
                        busy.get_or_insert(search);
                        break;
                    }
                    Take::Exhausted => break,
                }
            }
        }
        // Whatever another transaction has in flight may come back, so nothing is exhausted yet.
        let Some(busy) = busy else { return Err(exhausted(request, pools)?) };
        let patience = match &mut patience {
            Some(patience) => patience,
            none => none.insert(Patience::new()?),
        };
        let wait = patience.next()?.ok_or_else(|| timed_out(request))?;
        busy.wait(wait)?;
        refuse_old_snapshot(request)?;
    }
}

/// Tries to hold an address; `false` when the address or the device is taken. Waits for a transaction in flight.
fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    static INSERT: Plan = Plan::new(
        "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by, lease_until)
         VALUES ($1, $2, $3, $4, coalesce($5, session_user::text), now() + $6)
         ON CONFLICT DO NOTHING RETURNING ip",
    );
    INSERT.hits(&[
        request.project.into(),
        pool.id.into(),
        Inet(address.to_string()).into(),
        request.device.into(),
        request.allocated_by.into(),
        request.lease.into(),
    ])
}

/// Forgets a quarantine that is over; `false` when there is none. Its holding was logged when it was released.
fn expire(pool: &Pool, address: IpAddr) -> Result<bool> {
    static EXPIRE: Plan = Plan::new(
        "DELETE FROM nebula.allocation
          WHERE project_id = $1 AND ip = $2 AND quarantined_until <= clock_timestamp() RETURNING ip",
    );
    EXPIRE.hits(&[pool.project.into(), Inet(address.to_string()).into()])
}

/// The error for a search that found nothing. Only a fresh snapshot can tell that, hence the check first.
fn exhausted(request: &Request<'_>, pools: &[Pool]) -> Result<Error> {
    refuse_old_snapshot(request)?;
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
    static FRESH: Plan = Plan::new(
        "SELECT WHERE current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')",
    );
    if FRESH.hits(&[])? {
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
