//! Giving an address back.

use std::net::IpAddr;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::linked_table;
use super::row::{ALLOCATION, BY_DEVICE, column, session_client, session_user};
use super::static_hosts;
use crate::direct::{FoundRow, Table};
use crate::free_map::trigger::{quarantined, released};
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::Host;
use crate::pg::datum::inet::network;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::privilege::as_owner;
use crate::pg::session::{snapshot_is_fixed, transaction_start};
use crate::pg::statement::{Row, Statement};
use nebula_core::address::{Family, number};

static LOG: Table = Table::new(
    c"allocation_log",
    &[
        c"project_id",
        c"pool_id",
        c"ip",
        c"device_id",
        c"allocated_at",
        c"allocated_by",
        c"released_at",
        c"released_by",
        c"allocated_from",
        c"released_from",
    ],
);

/// Looked at only.
static CERTIFICATE: Table = Table::new(c"certificate", &[]);

/// A holding that ends.
struct Holding {
    project: Uuid,
    pool: i32,
    address: IpAddr,
    device: Uuid,
    allocated_at: TimestampWithTimeZone,
    allocated_by: Option<String>,
    allocated_from: Option<Inet>,
}

impl Holding {
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

    /// What it was, in the order of the fields.
    fn columns(&self) -> [DatumWithOid<'_>; 7] {
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

    /// A row read below SQL; `None` for one in quarantine.
    fn found(row: &FoundRow<'_>, device: Uuid) -> Option<Self> {
        // SAFETY: the columns have the types of the extension's own script.
        #[expect(unsafe_code, reason = "values below SQL have no types")]
        unsafe {
            let text = |column| row.get(column).and_then(|value| String::from_datum(value, false));
            row.get(column::RELEASED_AT).is_none().then_some(())?;
            Some(Self {
                project: Uuid::from_datum(row.get(column::PROJECT)?, false)?,
                pool: i32::from_datum(row.get(column::POOL)?, false)?,
                address: Host::read(row.get(column::IP)?).0,
                device,
                allocated_at: TimestampWithTimeZone::from_datum(row.get(column::ALLOCATED_AT)?, false)?,
                allocated_by: text(column::ALLOCATED_BY),
                allocated_from: row.get(column::CLIENT).and_then(|value| Inet::from_datum(value, false)),
            })
        }
    }

    /// Puts an address, just freed, into quarantine if a certificate names it; answers whether one does.
    fn restore(&self) -> Result<bool> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.allocation
                    (project_id, pool_id, ip, device_id, allocated_at, allocated_by, client, released_at, quarantined_until)
             SELECT $1, $2, $3, $4, $5, $6, $7, now(), max(c.not_after) FROM nebula.certificate c
              WHERE c.device_id = $4 AND c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp()
             HAVING count(*) > 0
             RETURNING quarantined_until",
        );
        let until: Option<Timestamp> = INSERT.query_opt(&self.columns(), |row| row.need(1))?;
        if let Some(Timestamp(until)) = until {
            quarantined(self.pool, number(self.address), until);
        }
        Ok(until.is_some())
    }

    /// Frees the address, or keeps it in quarantine until the last certificate that names it has expired.
    fn end(&self, valid_until: Option<TimestampWithTimeZone>) -> Result<()> {
        static KEEP: Statement = Statement::new(
            "UPDATE nebula.allocation SET released_at = now(), quarantined_until = $3, lease_until = NULL
              WHERE project_id = $1 AND ip = $2",
        );
        static FREE: Statement =
            Statement::new("DELETE FROM nebula.allocation WHERE project_id = $1 AND ip = $2");
        let key = [self.project.into(), Host(self.address).into()];
        match valid_until {
            None => FREE.run(&key),
            Some(until) => {
                let [project, ip] = key;
                KEEP.run(&[project, ip, until.into()])
            }
        }
    }

    fn log(&self, by: Option<&str>, client: Option<Inet>) -> Result<()> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.allocation_log
                    (project_id, pool_id, ip, device_id, allocated_at, allocated_by, allocated_from,
                     released_by, released_from)
             VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, session_user::text), coalesce($9, inet_client_addr()))",
        );
        // Nothing in it is unique, so no row is written in vain.
        let written = LOG.insert(&[
            self.project.into_datum(),
            self.pool.into_datum(),
            Host(self.address).into_datum(),
            self.device.into_datum(),
            self.allocated_at.into_datum(),
            self.allocated_by.as_deref().and_then(IntoDatum::into_datum),
            Some(transaction_start().into()),
            by.map_or_else(session_user, IntoDatum::into_datum),
            self.allocated_from.clone().and_then(IntoDatum::into_datum),
            client.clone().map_or_else(session_client, IntoDatum::into_datum),
        ])?;
        if written {
            return Ok(());
        }
        let mut values = Vec::from(self.columns());
        values.extend([by.into(), client.into()]);
        INSERT.run(&values)
    }
}

/// The usual case for a device without a certificate, with the caller's privileges; `None` when anything is not as usual.
fn fast_path(device: Uuid, released_by: Option<&str>, client: Option<Inet>) -> Result<Option<IpAddr>> {
    if snapshot_is_fixed() || static_hosts::is_static_host(device)? {
        return Ok(None);
    }
    let certificates = CERTIFICATE.open_for_reading()?;
    let certified = || certificates.contains(c"certificate_device_idx", device);
    if certified()? {
        return Ok(None);
    }
    let Some(held) = ALLOCATION.delete(BY_DEVICE, device, |row| Holding::found(row, device))? else {
        return Ok(None);
    };
    // A registration that held the row until just now may have recorded one: then it is as if it had not been deleted.
    let restored = certified()? && as_owner(|| held.restore())?;
    if !restored {
        released(held.pool, number(held.address))?;
    }
    held.log(released_by, client)?;
    if linked_table::may_exist() {
        linked_table::sync_released(device)?;
    }
    Ok(Some(held.address))
}

/// Releases all a device holds, or only `address`; answers the address, the IPv4 one if it holds two.
pub(super) fn release(
    device: Uuid,
    released_by: Option<&str>,
    address: Option<Inet>,
    client: Option<Inet>,
) -> Result<IpAddr> {
    join_allocators()?;
    if address.is_none()
        && let Some(address) = fast_path(device, released_by, client.clone())?
    {
        return Ok(address);
    }
    as_owner(|| general_path(device, released_by, address, client))
}

fn general_path(
    device: Uuid,
    released_by: Option<&str>,
    address: Option<Inet>,
    client: Option<Inet>,
) -> Result<IpAddr> {
    static LOCK: Statement = Statement::new(
        "SELECT project_id, pool_id, ip, allocated_at, allocated_by, client FROM nebula.allocation
          WHERE device_id = $1 AND released_at IS NULL AND ($2 IS NULL OR ip = $2) FOR UPDATE",
    );
    // A statement of its own: who waits above for a registration must then see the certificate it recorded.
    static VALID: Statement = Statement::new(
        "SELECT not_after FROM nebula.certificate
          WHERE device_id = $1 AND revoked_everywhere_at IS NULL AND not_after > clock_timestamp()
          ORDER BY not_after DESC LIMIT 1",
    );
    let held = LOCK.query(&[device.into(), address.into()], |row| Holding::read(row, device))?;
    let Some(first) = held.iter().map(|holding| holding.address).min_by_key(|a| Family::of(*a).bits()) else {
        return Err(nothing_held(device)?);
    };
    let valid_until = VALID.query_opt(&[device.into()], |row| row.need(1))?;
    for holding in &held {
        holding.end(valid_until)?;
        holding.log(released_by, client.clone())?;
    }
    // Once for both families: what a device holds is of one project.
    if let Some(holding) = held.first() {
        static_hosts::moved(holding.project, device)?;
    }
    linked_table::sync(device)?;
    Ok(first)
}

fn nothing_held(device: Uuid) -> Result<Error> {
    static KNOWN: Statement =
        Statement::new("SELECT FROM nebula.allocation_log WHERE device_id = $1 LIMIT 1");
    Ok(if KNOWN.exists(&[device.into()])? {
        Error::new(
            Kind::WrongState,
            format!("device {device} has released its address already"),
            "Nothing is left to do; see nebula.allocation_history.",
        )
    } else {
        Error::new(
            Kind::Missing,
            format!("device {device} holds no address"),
            "Look for it: SELECT device_id, name, ip FROM nebula.device_status.",
        )
    })
}
