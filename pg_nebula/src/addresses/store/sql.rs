//! The operations in SQL.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use nebula_core::address::{Family, number};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::any_row::DeviceRow;
use super::{AddressStore, EndedAllocation, Pair, StaticHostReason, any_row};
use crate::addresses::request::Request;
use crate::addresses::wait_backoff::WaitBackoff;
use crate::free_map;
use crate::free_map::trigger::address_quarantined;
use crate::pg::datum::inet::{Host, network};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::session;
use crate::pg::statement::{Row, Statement};
use crate::pools::pool::Pool;

/// How long a batch waits for another transaction's row at most. Two batches that share devices may each have
/// a row that the other one needs; then both give up and go on with one device at a time.
const MAX_WAIT: Duration = Duration::from_millis(10);

/// Inserts of a row that must have no effect, with no other row in the way, before that is an error.
const ATTEMPTS: usize = 3;

/// The implementation in SQL.
pub(super) struct Sql;

impl AddressStore for Sql {
    fn has_rows(device: Uuid) -> Result<Option<bool>> {
        static ROWS: Statement = Statement::new("SELECT FROM nebula.allocation WHERE device_id = $1 LIMIT 1");
        ROWS.exists(&[device.into()]).map(Some)
    }

    /// An INSERT would wait for a transaction in progress that has a row with the address, or raise an error
    /// at one that the snapshot does not show. So it is tried only when there is no row at all.
    fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<bool>> {
        if any_row::has_address(pool, address)? {
            return Ok(Some(false));
        }
        if free_map::is_shared() {
            // No other allocation has claimed the address.
            return insert_waiting(request, pool, address).map(Some);
        }
        insert_unclaimed(request, pool, address).map(Some)
    }

    fn insert_many(request: &Request<'_>, pool: &Pool, pairs: &[Pair]) -> Result<Option<bool>> {
        insert_all_within(request, pool, pairs, MAX_WAIT).map(|inserted| Some(inserted == Some(true)))
    }

    fn end_allocations(device: Uuid, address: Option<&Inet>) -> Result<Option<Vec<EndedAllocation>>> {
        static LOCK: Statement = Statement::new(
            "SELECT project_id, pool_id, ip, allocated_at, allocated_by, client FROM nebula.allocation
              WHERE device_id = $1 AND released_at IS NULL AND ($2 IS NULL OR ip = $2) FOR UPDATE",
        );
        // After the lock, in a statement of its own: if the lock waited for a registration, the certificate
        // which that one recorded is visible here.
        static VALID_UNTIL: Statement = Statement::new(
            "SELECT not_after FROM nebula.certificate
              WHERE device_id = $1 AND revoked_everywhere_at IS NULL AND not_after > clock_timestamp()
              ORDER BY not_after DESC LIMIT 1",
        );
        static DELETE: Statement =
            Statement::new("DELETE FROM nebula.allocation WHERE project_id = $1 AND ip = $2");
        static QUARANTINE: Statement = Statement::new(
            "UPDATE nebula.allocation SET released_at = now(), quarantined_until = $3, lease_until = NULL
              WHERE project_id = $1 AND ip = $2",
        );
        let rows =
            LOCK.query(&[device.into(), address.cloned().into()], |row| EndedAllocation::read(row, device))?;
        if !rows.is_empty() {
            let valid_until: Option<TimestampWithTimeZone> =
                VALID_UNTIL.query_opt(&[device.into()], |row| row.need(1))?;
            for row in &rows {
                let (project, ip) = (row.project.into(), Host(row.address).into());
                match valid_until {
                    None => DELETE.run(&[project, ip])?,
                    Some(until) => QUARANTINE.run(&[project, ip, until.into()])?,
                }
            }
        }
        Ok(Some(rows))
    }

    fn append_log(ended: &EndedAllocation, by: Option<&str>, client: Option<&Inet>) -> Result<Option<()>> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.allocation_log
                    (project_id, pool_id, ip, device_id, allocated_at, allocated_by, allocated_from,
                     released_by, released_from)
             VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, session_user::text),
                     coalesce($9, inet_client_addr()))",
        );
        let mut values = Vec::from(ended.values());
        values.extend([by.into(), client.cloned().into()]);
        INSERT.run(&values).map(Some)
    }
}

/// All devices that are static hosts for this reason; as of now, whatever the snapshot shows, because
/// sessions cache them.
pub(super) fn static_hosts(reason: StaticHostReason) -> Result<HashSet<Uuid>> {
    static LIGHTHOUSES_AND_RELAYS: Statement = Statement::new(
        "SELECT device_id FROM nebula.device WHERE role IN ('lighthouse', 'relay') AND revoked_at IS NULL",
    );
    static ROUTERS: Statement = Statement::new("SELECT device_id FROM nebula.route");
    let devices = match reason {
        StaticHostReason::Role => &LIGHTHOUSES_AND_RELAYS,
        StaticHostReason::Route => &ROUTERS,
    };
    Ok(devices.query_latest(&[], |row| row.need(1))?.into_iter().collect())
}

/// All projects whose firewall rules name devices or groups; as of now, because sessions cache them.
pub(super) fn projects_with_named_devices() -> Result<HashSet<Uuid>> {
    static NAMED: Statement = Statement::new(
        "SELECT DISTINCT project_id FROM nebula.firewall_rule
          WHERE num_nonnulls(for_group, for_device, remote_device) > 0 OR remote_groups <> '{}'",
    );
    Ok(NAMED.query_latest(&[], |row| row.need(1))?.into_iter().collect())
}

/// Puts an allocation whose row was just deleted into quarantine if the device has a valid certificate;
/// `false`: it has none.
pub(super) fn quarantine_if_certified(ended: &EndedAllocation) -> Result<bool> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.allocation
                (project_id, pool_id, ip, device_id, allocated_at, allocated_by, client, released_at,
                 quarantined_until)
         SELECT $1, $2, $3, $4, $5, $6, $7, now(), max(c.not_after) FROM nebula.certificate c
          WHERE c.device_id = $4 AND c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp()
         HAVING count(*) > 0
         RETURNING quarantined_until",
    );
    let until: Option<Timestamp> = INSERT.query_opt(&ended.values(), |row| row.need(1))?;
    if let Some(Timestamp(until)) = until {
        address_quarantined(ended.pool, number(ended.address), until);
    }
    Ok(until.is_some())
}

/// `INSERT` of one row, which waits for transactions that are about to insert or delete a row with the same
/// address or device.
pub(super) fn insert_waiting(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.allocation
                (project_id, pool_id, ip, device_id, allocated_by, lease_until, client)
         VALUES ($1, $2, $3, $4, coalesce($5, session_user::text), now() + $6,
                 coalesce($7, inet_client_addr()))
         ON CONFLICT DO NOTHING",
    );
    let values = [
        request.project.into(),
        pool.id.into(),
        Host(address).into(),
        request.device.into(),
        request.allocated_by.into(),
        request.lease.into(),
        request.client.clone().into(),
    ];
    // A row that was in the way may have gone before it is looked for.
    for _ in 0..ATTEMPTS {
        if INSERT.execute(&values)? == 1 {
            return Ok(true);
        }
        if any_row::has_address(pool, address)? || row_in_the_way(request, address)?.is_some() {
            return Ok(false);
        }
    }
    Err(dropped(address))
}

/// [`AddressStore::insert`] where other sessions may insert the same address at this moment. Waits for their
/// rows only for a moment, and for a row of the device by its transaction instead of its index entry: else
/// two transactions would each wait for an address of which the other could take another one.
fn insert_unclaimed(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<bool> {
    let mut backoff = WaitBackoff::new();
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        let Some(timeout) = backoff.next_wait() else { return insert_waiting(request, pool, address) };
        let inserted = insert_all_within(request, pool, &[(request.device, address)], timeout)?;
        if inserted == Some(true) {
            return Ok(true);
        }
        if any_row::has_address(pool, address)? {
            return Ok(false);
        }
        match row_in_the_way(request, address)? {
            Some(DeviceRow { undecided: Some(transaction), .. }) => session::wait_for(transaction),
            Some(_) => return Ok(false),
            // After a timeout the lock may have been any: that of a table that grows, for example.
            None => attempts += usize::from(inserted == Some(false)),
        }
    }
    Err(dropped(address))
}

/// A row of the device with an address of the same family.
fn row_in_the_way(request: &Request<'_>, address: IpAddr) -> Result<Option<DeviceRow>> {
    let mut rows = any_row::of_device(request.device)?.into_iter();
    Ok(rows.find(|row| Family::of(row.address) == Family::of(address)))
}

fn dropped(address: IpAddr) -> Error {
    Error::new(
        Kind::Internal,
        format!("the row of {address} was not written, although no other row is in the way"),
        "A trigger BEFORE INSERT that returns NULL, or a rule, may have dropped it: \\d nebula.allocation.",
    )
}

/// Inserts the allocation of an address that another transaction is about to insert; `false`: that one has
/// not rolled back within `timeout`.
pub(in crate::addresses) fn insert_within(
    request: &Request<'_>,
    pool: &Pool,
    address: IpAddr,
    timeout: Duration,
) -> Result<bool> {
    let inserted = insert_all_within(request, pool, &[(request.device, address)], timeout)?;
    Ok(inserted == Some(true))
}

/// Inserts rows, all or none; `false`: none, because there is a row with one of those addresses or devices.
/// `None`: a lock, perhaps of a transaction that is about to insert or delete such a row, was not to be had
/// within `timeout`.
fn insert_all_within(
    request: &Request<'_>,
    pool: &Pool,
    pairs: &[Pair],
    timeout: Duration,
) -> Result<Option<bool>> {
    static INSERT: Statement =
        Statement::new("SELECT nebula.insert_allocations($1, $2, $3, $4, $5, $6, $7, $8)");
    let (devices, addresses): (Vec<Uuid>, Vec<Host>) =
        pairs.iter().map(|(device, address)| (*device, Host(*address))).unzip();
    let values = [
        request.project.into(),
        pool.id.into(),
        addresses.into(),
        devices.into(),
        request.allocated_by.into(),
        request.lease.into(),
        request.client.clone().into(),
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).into(),
    ];
    Ok(INSERT.query_opt(&values, |row| row.get(1))?.flatten())
}

/// Deletes the row of an address whose quarantine is over; `false`: there is none. The log has an entry since
/// the release.
pub(in crate::addresses) fn delete_expired(pool: &Pool, address: IpAddr) -> Result<bool> {
    static DELETE: Statement = Statement::new(
        "DELETE FROM nebula.allocation
          WHERE project_id = $1 AND ip = $2 AND quarantined_until <= clock_timestamp() RETURNING ip",
    );
    DELETE.exists(&[pool.project.into(), Host(address).into()])
}

impl EndedAllocation {
    fn read(row: &Row<'_>, device: Uuid) -> Result<Self> {
        Ok(Self {
            project: row.need(1)?,
            pool: row.need(2)?,
            address: network(&row.need(3)?)?.address,
            device,
            allocated_at: row.need(4)?,
            allocated_by: row.get(5)?,
            allocated_from: row.get(6)?,
        })
    }

    /// Parameters $1 to $7 of the statements that insert it elsewhere.
    fn values(&self) -> [DatumWithOid<'_>; 7] {
        [
            self.project.into(),
            self.pool.into(),
            Host(self.address).into(),
            self.device.into(),
            self.allocated_at.into(),
            self.allocated_by.as_deref().into(),
            self.allocated_from.clone().into(),
        ]
    }
}
