//! Linked tables: tables of the application that show each device's address, written in the same transaction.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::error::{Error, Kind, Result, required};
use crate::inet::Host;
use crate::map::snapshot_is_fixed;
use crate::plan::{Plan, Row, as_role};
use crate::pool::network;

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
    /// Shows the address $2 for the device $1.
    show: &'static Plan,
}

/// All linked tables.
struct Links {
    /// Those that can be written.
    usable: Vec<Link>,
    /// Those that exist; one that lacks a column may get it.
    watched: Vec<pg_sys::Oid>,
}

thread_local! {
    /// The linked tables, as far as this session knows: mostly none, and nothing must be read to see that.
    static LINKED: RefCell<Option<Rc<Links>>> = const { RefCell::new(None) };
}

/// Tables were linked or unlinked: look again.
pub(crate) fn forget() {
    LINKED.set(None);
}

/// A table was altered or dropped: look again if it is a linked one.
pub(crate) fn forget_table(table: pg_sys::Oid) {
    if LINKED.with_borrow(|known| known.as_ref().is_some_and(|links| links.watched.contains(&table))) {
        forget();
    }
}

/// Whether there may be something to show.
pub(crate) fn may_show() -> bool {
    LINKED.with_borrow(|known| known.as_ref().is_none_or(|links| !links.usable.is_empty()))
}

/// The linked tables; one that was dropped or altered is passed by, so that devices get addresses.
fn links() -> Result<Rc<Links>> {
    static LINKS: Plan = Plan::new(
        "SELECT c.oid, l.target::text, quote_ident(l.id_column), quote_ident(l.ip_column),
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'nebula_last_seen'
                           AND NOT a.attisdropped AND a.atttypid = 'timestamptz'::regtype),
                c.relowner,
                (SELECT count(*) = 2 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                    AND (a.attname, a.atttypid) IN ((l.id_column, 'uuid'::regtype), (l.ip_column, 'inet'::regtype)))
           FROM nebula.linked_table l JOIN pg_class c ON c.oid = l.target",
    );
    if let Some(known) = LINKED.with_borrow(Clone::clone) {
        return Ok(known);
    }
    let mut links = Links { usable: Vec::new(), watched: Vec::new() };
    let read = |row: &Row<'_>| {
        let (table, id, ip): (String, String, String) = (row.need(2)?, row.need(3)?, row.need(4)?);
        let show =
            Plan::made(format!("UPDATE {table} SET {ip} = $2 WHERE {id} = $1 AND {ip} IS DISTINCT FROM $2"));
        let link = Link { table, id, ip, seen: row.need(5)?, owner: row.need(6)?, show };
        Ok((row.need(1)?, row.need::<bool>(7)?.then_some(link)))
    };
    for (table, link) in LINKS.rows(&[], read)? {
        links.watched.push(table);
        links.usable.extend(link);
    }
    let links = Rc::new(links);
    // An old snapshot shows old links.
    if !snapshot_is_fixed() {
        LINKED.set(Some(Rc::clone(&links)));
    }
    Ok(links)
}

/// Shows what a device holds now in every linked table: the IPv4 address if it holds two.
///
/// # Errors
/// Whatever the table's own constraints and triggers raise.
pub(crate) fn show(device: Uuid) -> Result<()> {
    static HELD: Plan = Plan::new(
        "SELECT ip FROM nebula.allocation WHERE device_id = $1 AND released_at IS NULL ORDER BY family(ip) LIMIT 1",
    );
    if links()?.usable.is_empty() {
        return Ok(());
    }
    let held: Option<Inet> = HELD.first(&[device.into()], |row| row.need(1))?;
    let held = held.map(|ip| network(&ip)).transpose()?;
    show_address(device, held.map(|ip| Host(ip.address)))
}

/// The same for a device that holds this address only just now.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_new(device: Uuid, address: IpAddr) -> Result<()> {
    // An IPv6 address is shown only where there is no IPv4 one.
    if address.is_ipv4() { show_address(device, Some(Host(address))) } else { show(device) }
}

fn show_address(device: Uuid, address: Option<Host>) -> Result<()> {
    for link in &links()?.usable {
        as_role(link.owner, || link.show.run(&[device.into(), address.into()]))?;
    }
    Ok(())
}

/// Shows many new holdings at once. Devices that hold two addresses are shown one by one.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_all(held: &[(Uuid, IpAddr)]) -> Result<()> {
    let links = links()?;
    if links.usable.is_empty() {
        return Ok(());
    }
    // An IPv6 address is shown only where there is no IPv4 one.
    let (four, six): (Vec<_>, Vec<_>) = held.iter().copied().partition(|(_, address)| address.is_ipv4());
    for (device, _) in six {
        show(device)?;
    }
    let devices: Vec<Uuid> = four.iter().map(|(device, _)| *device).collect();
    let addresses: Vec<Host> = four.iter().map(|(_, address)| Host(*address)).collect();
    for Link { table, id, ip, owner, .. } in &links.usable {
        let update = Plan::made(format!(
            "UPDATE {table} AS t SET {ip} = n.ip FROM unnest($1, $2) AS n(id, ip)
              WHERE t.{id} = n.id AND t.{ip} IS DISTINCT FROM n.ip"
        ));
        as_role(*owner, || update.run(&[devices.clone().into(), addresses.clone().into()]))?;
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
    for Link { table, id, seen, owner, .. } in &links()?.usable {
        if *seen {
            let update = Plan::made(format!("UPDATE {table} SET nebula_last_seen = now() WHERE {id} = $1"));
            known |= as_role(*owner, || update.changes(&[device.into()]))? > 0;
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
