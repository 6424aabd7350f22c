//! The operations in SQL.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use nebula_core::address::number;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::{AddressStore, EndedAllocation, Pair, StaticHostReason};
use crate::addresses::request::Request;
use crate::free_map::trigger::address_quarantined;
use crate::pg::datum::inet::{Host, network};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::statement::{Row, Statement};
use crate::pg::subtransaction::commit_if;
use crate::pools::pool::Pool;

/// The implementation in SQL.
pub(super) struct Sql;

impl AddressStore for Sql {
    fn has_rows(device: Uuid) -> Result<bool> {
        static ROWS: Statement = Statement::new("SELECT FROM nebula.allocation WHERE device_id = $1 LIMIT 1");
        ROWS.exists(&[device.into()])
    }

    fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<bool>> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.allocation
                    (project_id, pool_id, ip, device_id, allocated_by, lease_until, client)
             VALUES ($1, $2, $3, $4, coalesce($5, session_user::text), now() + $6,
                     coalesce($7, inet_client_addr()))
             ON CONFLICT DO NOTHING",
        );
        Ok(Some(INSERT.execute(&new_row(request, pool, address))? == 1))
    }

    fn insert_many(request: &Request<'_>, pool: &Pool, pairs: &[Pair]) -> Result<Option<bool>> {
        // In the order of the devices: calls that share devices wait for each other instead of deadlocking.
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.allocation
                    (project_id, pool_id, ip, device_id, allocated_by, lease_until, client)
             SELECT $1, $2, n.ip, n.device_id, coalesce($5, session_user::text), now() + $6,
                    coalesce($7, inet_client_addr())
               FROM unnest($3, $4) AS n(ip, device_id) ORDER BY n.device_id
             ON CONFLICT DO NOTHING",
        );
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
        ];
        let inserted = commit_if(
            || INSERT.execute(&values),
            |inserted| inserted.as_ref().is_ok_and(|inserted| *inserted == pairs.len()),
        )?;
        Ok(Some(inserted == pairs.len()))
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

    fn static_hosts(reason: StaticHostReason) -> Result<HashSet<Uuid>> {
        static LIGHTHOUSES_AND_RELAYS: Statement = Statement::new(
            "SELECT device_id FROM nebula.device WHERE role IN ('lighthouse', 'relay')
               AND revoked_at IS NULL",
        );
        static ROUTERS: Statement = Statement::new("SELECT device_id FROM nebula.route");
        let devices = match reason {
            StaticHostReason::Role => &LIGHTHOUSES_AND_RELAYS,
            StaticHostReason::Route => &ROUTERS,
        };
        Ok(devices.query(&[], |row| row.need(1))?.into_iter().collect())
    }
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

/// Inserts the allocation of an address that another transaction is about to insert; `false`: that one has
/// not rolled back within `timeout`.
pub(in crate::addresses) fn insert_within(
    request: &Request<'_>,
    pool: &Pool,
    address: IpAddr,
    timeout: Duration,
) -> Result<bool> {
    static INSERT: Statement =
        Statement::new("SELECT nebula.insert_when_free($1, $2, $3, $4, $5, $6, $7, $8)");
    let mut values = Vec::from(new_row(request, pool, address));
    values.push(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).into());
    Ok(INSERT.query_opt(&values, |row| row.need(1))?.unwrap_or(false))
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

/// Parameters $1 to $7 of the statements that insert one row.
fn new_row<'a>(request: &Request<'a>, pool: &Pool, address: IpAddr) -> [DatumWithOid<'a>; 7] {
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
