//! Linked tables: tables of the application that show each device's address, written in the same transaction.

use std::cell::Cell;
use std::net::IpAddr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::error::{Error, Kind, Result, required};
use crate::map::snapshot_is_fixed;
use crate::plan::{Plan, as_role};

/// A linked table that exists and has the columns.
struct Link {
    /// Its name, fit for SQL.
    table: String,
    /// Column with the device's identifier.
    id: String,
    /// Column that shows the address.
    ip: String,
    /// Whether it has a column `nebula_last_seen`.
    seen: bool,
    /// The owner, with whose privileges it is written: its triggers must not run with ours.
    owner: pg_sys::Oid,
}

thread_local! {
    /// Whether any table is linked, as far as this session knows: mostly none is, and nothing must be read to see that.
    static LINKED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// A table was linked or unlinked: look again.
pub(crate) fn forget() {
    LINKED.set(None);
}

/// Whether there may be something to show.
pub(crate) fn may_show() -> bool {
    LINKED.get() != Some(false)
}

/// Whether any table is linked.
fn any() -> Result<bool> {
    static ANY: Plan = Plan::new("SELECT FROM nebula.linked_table LIMIT 1");
    let any = ANY.hits(&[])?;
    // An old snapshot shows old links.
    if !snapshot_is_fixed() {
        LINKED.set(Some(any));
    }
    Ok(any)
}

/// The linked tables that can be written; one that was dropped or altered is passed by, so that devices get addresses.
fn links() -> Result<Vec<Link>> {
    if !LINKED.get().map_or_else(any, Ok)? {
        return Ok(Vec::new());
    }
    static LINKS: Plan = Plan::new(
        "SELECT l.target::text, quote_ident(l.id_column), quote_ident(l.ip_column),
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'nebula_last_seen'
                           AND NOT a.attisdropped AND a.atttypid = 'timestamptz'::regtype),
                c.relowner
           FROM nebula.linked_table l JOIN pg_class c ON c.oid = l.target
          WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = l.id_column
                           AND NOT a.attisdropped AND a.atttypid = 'uuid'::regtype)
            AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = l.ip_column
                           AND NOT a.attisdropped AND a.atttypid = 'inet'::regtype)",
    );
    LINKS.rows(&[], |row| {
        Ok(Link {
            table: row.need(1)?,
            id: row.need(2)?,
            ip: row.need(3)?,
            seen: row.need(4)?,
            owner: row.need(5)?,
        })
    })
}

/// Shows what a device holds now in every linked table: the IPv4 address if it holds two.
///
/// # Errors
/// Whatever the table's own constraints and triggers raise.
pub(crate) fn show(device: Uuid) -> Result<()> {
    static HELD: Plan = Plan::new(
        "SELECT ip FROM nebula.allocation WHERE device_id = $1 AND released_at IS NULL ORDER BY family(ip) LIMIT 1",
    );
    let links = links()?;
    if links.is_empty() {
        return Ok(());
    }
    let held: Option<Inet> = HELD.first(&[device.into()], |row| row.need(1))?;
    for Link { table, id, ip, owner, .. } in links {
        let update =
            Plan::made(format!("UPDATE {table} SET {ip} = $2 WHERE {id} = $1 AND {ip} IS DISTINCT FROM $2"));
        as_role(owner, || update.run(&[device.into(), held.clone().into()]))?;
    }
    Ok(())
}

/// Shows many new holdings at once. Devices that hold two addresses are shown one by one.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_all(held: &[(Uuid, IpAddr)]) -> Result<()> {
    let links = links()?;
    if links.is_empty() {
        return Ok(());
    }
    // An IPv6 address is shown only where there is no IPv4 one.
    let (four, six): (Vec<_>, Vec<_>) = held.iter().copied().partition(|(_, address)| address.is_ipv4());
    for (device, _) in six {
        show(device)?;
    }
    let devices: Vec<Uuid> = four.iter().map(|(device, _)| *device).collect();
    let addresses: Vec<Inet> = four.iter().map(|(_, address)| Inet(address.to_string())).collect();
    for Link { table, id, ip, owner, .. } in links {
        let update = Plan::made(format!(
            "UPDATE {table} AS t SET {ip} = n.ip FROM unnest($1, $2) AS n(id, ip)
              WHERE t.{id} = n.id AND t.{ip} IS DISTINCT FROM n.ip"
        ));
        as_role(owner, || update.run(&[devices.clone().into(), addresses.clone().into()]))?;
    }
    Ok(())
}

/// Shows in linked tables what these devices hold now, and nothing for those that hold nothing. For check_pool.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn show_addresses(device_ids: Option<Vec<Option<Uuid>>>) -> std::result::Result<(), ErrorReport> {
    for device in required(device_ids, "device_ids")?.into_iter().flatten() {
        show(device)?;
    }
    Ok(())
}

/// Notes a sign of life of a device, here and in linked tables with a column `nebula_last_seen`.
///
/// It does not prolong a lease: that is renew_lease. Errors: P0002 no such device.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn touch_device(device_id: Option<Uuid>) -> std::result::Result<(), ErrorReport> {
    Ok(touch(required(device_id, "device_id")?)?)
}

fn touch(device: Uuid) -> Result<()> {
    static SEEN: Plan =
        Plan::new("UPDATE nebula.device SET last_seen_at = now() WHERE device_id = $1 RETURNING device_id");
    static HOLDS: Plan =
        Plan::new("SELECT FROM nebula.allocation WHERE device_id = $1 AND released_at IS NULL");
    let mut known = SEEN.hits(&[device.into()])? || HOLDS.hits(&[device.into()])?;
    for Link { table, id, seen, owner, .. } in links()? {
        if seen {
            let update = Plan::made(format!("UPDATE {table} SET nebula_last_seen = now() WHERE {id} = $1"));
            known |= as_role(owner, || update.changes(&[device.into()]))? > 0;
        }
    }
    if known {
        return Ok(());
    }
    Err(Error::new(
        Kind::Missing,
        format!("there is no device {device}"),
        "List devices: SELECT device_id, name FROM nebula.device_status.",
    ))
}
