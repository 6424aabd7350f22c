//! Giving an address back.

use std::net::IpAddr;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::named;
use super::row::{ALLOCATION, BY_DEVICE, column, session_client, session_user};
use crate::address::{Family, number};
use crate::error::{Error, Kind, Result};
use crate::inet::Host;
use crate::instant::Instant;
use crate::link;
use crate::map::trigger::{given, quarantined};
use crate::map::{join_allocators, snapshot_is_fixed, transaction_start};
use crate::plan::{Plan, Row, as_owner};
use crate::pool::network;
use crate::table::{Found, Table};

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
    fn found(row: &Found<'_>, device: Uuid) -> Option<Self> {
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
        static INSERT: Plan = Plan::new(
            "INSERT INTO nebula.allocation
                    (project_id, pool_id, ip, device_id, allocated_at, allocated_by, client, released_at, quarantined_until)
             SELECT $1, $2, $3, $4, $5, $6, $7, now(), max(c.not_after) FROM nebula.certificate c
              WHERE c.device_id = $4 AND c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp()
             HAVING count(*) > 0
             RETURNING quarantined_until",
        );
        let until: Option<Instant> = INSERT.first(&self.columns(), |row| row.need(1))?;
        if let Some(Instant(until)) = until {
            quarantined(self.pool, number(self.address), until);
        }
        Ok(until.is_some())
    }

    /// Frees the address, or keeps it in quarantine until the last certificate that names it has expired.
    fn end(&self, valid_until: Option<TimestampWithTimeZone>) -> Result<()> {
        static KEEP: Plan = Plan::new(
            "UPDATE nebula.allocation SET released_at = now(), quarantined_until = $3, lease_until = NULL
              WHERE project_id = $1 AND ip = $2",
        );
        static FREE: Plan = Plan::new("DELETE FROM nebula.allocation WHERE project_id = $1 AND ip = $2");
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
        static INSERT: Plan = Plan::new(
            "INSERT INTO nebula.allocation_log
                    (project_id, pool_id, ip, device_id, allocated_at, allocated_by, allocated_from,
                     released_by, released_from)
             VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, session_user::text), coalesce($9, inet_client_addr()))",
        );
        // Nothing in it is unique, so no row is written in vain.
        let written = LOG.put(&[
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
fn release_at_once(device: Uuid, released_by: Option<&str>, client: Option<Inet>) -> Result<Option<IpAddr>> {
    if snapshot_is_fixed() || named::is_named(device)? {
        return Ok(None);
    }
    let certificates = CERTIFICATE.open_to_look()?;
    let certified = || certificates.holds(c"certificate_device_idx", device);
    if certified()? {
        return Ok(None);
    }
    let Some(held) = ALLOCATION.delete(BY_DEVICE, device, |row| Holding::found(row, device))? else {
        return Ok(None);
    };
    // A registration that held the row until just now may have recorded one: then it is as if it had not been deleted.
    let restored = certified()? && as_owner(|| held.restore())?;
    if !restored {
        given(held.pool, number(held.address))?;
    }
    held.log(released_by, client)?;
    if link::may_show() {
        link::show_nothing(device)?;
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
        && let Some(address) = release_at_once(device, released_by, client.clone())?
    {
        return Ok(address);
    }
    as_owner(|| release_thoroughly(device, released_by, address, client))
}

fn release_thoroughly(
    device: Uuid,
    released_by: Option<&str>,
    address: Option<Inet>,
    client: Option<Inet>,
) -> Result<IpAddr> {
    static LOCK: Plan = Plan::new(
        "SELECT project_id, pool_id, ip, allocated_at, allocated_by, client FROM nebula.allocation
          WHERE device_id = $1 AND released_at IS NULL AND ($2 IS NULL OR ip = $2) FOR UPDATE",
    );
    // A statement of its own: who waits above for a registration must then see the certificate it recorded.
    static VALID: Plan = Plan::new(
        "SELECT not_after FROM nebula.certificate
          WHERE device_id = $1 AND revoked_everywhere_at IS NULL AND not_after > clock_timestamp()
          ORDER BY not_after DESC LIMIT 1",
    );
    let held = LOCK.rows(&[device.into(), address.into()], |row| Holding::read(row, device))?;
    let Some(first) = held.iter().map(|holding| holding.address).min_by_key(|a| Family::of(*a).bits()) else {
        return Err(nothing_held(device)?);
    };
    let valid_until = VALID.first(&[device.into()], |row| row.need(1))?;
    for holding in &held {
        holding.end(valid_until)?;
        holding.log(released_by, client.clone())?;
    }
    // Once for both families: what a device holds is of one project.
    if let Some(holding) = held.first() {
        named::moved(holding.project, device)?;
    }
    link::show(device)?;
    Ok(first)
}

fn nothing_held(device: Uuid) -> Result<Error> {
    static KNOWN: Plan = Plan::new("SELECT FROM nebula.allocation_log WHERE device_id = $1 LIMIT 1");
    Ok(if KNOWN.hits(&[device.into()])? {
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
