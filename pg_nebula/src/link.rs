//! Linked tables: tables of the application that show each device's address, written in the same transaction.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::spi::quote_identifier;
use pgrx::{Inet, Uuid};

use crate::error::{Error, Kind, Result, required};
use crate::inet::Host;
use crate::map::snapshot_is_fixed;
use crate::plan::{Plan, Row, as_owner, as_role};
use crate::pool::network;
use crate::table::{Linked, Shown};

/// A linked table that exists and has the columns.
struct Link {
    /// Its name, fit for SQL.
    table: String,
    /// Column with the device's identifier, fit for SQL.
    id: String,
    /// Column that shows the address, fit for SQL.
    ip: String,
    /// Whether it has a column `nebula_last_seen`.
    seen: bool,
    /// The owner, with whose privileges it is written: its triggers must not run with ours.
    owner: pg_sys::Oid,
    /// It below SQL, where it allows that.
    linked: Option<Linked>,
}

/// All linked tables.
struct Links {
    /// Those that can be written.
    usable: Vec<Link>,
    /// Those that exist; one that lacks a column may get it.
    watched: Vec<pg_sys::Oid>,
    /// Nothing was heard since that is not known here.
    current: Cell<bool>,
}

thread_local! {
    /// The linked tables, as far as this session knows: mostly none, and nothing must be read to see that.
    static LINKED: RefCell<Option<Rc<Links>>> = const { RefCell::new(None) };
    /// Goes up with every word of a change, so that what was read before is not kept.
    static HEARD: Cell<u64> = const { Cell::new(0) };
}

/// Tables were linked or unlinked: look again.
pub(crate) fn forget() {
    HEARD.set(HEARD.get() + 1);
    if let Some(links) = LINKED.take() {
        links.current.set(false);
    }
}

/// A table was altered or dropped: look again if it is a linked one, or may be one of those that are just being read.
pub(crate) fn forget_table(table: pg_sys::Oid) {
    HEARD.set(HEARD.get() + 1);
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
    LINKED.with_borrow(Clone::clone).map_or_else(|| as_owner(read), Ok)
}

fn read() -> Result<Rc<Links>> {
    static LINKS: Plan = Plan::new(
        "SELECT c.oid, l.target::text, l.id_column::text, l.ip_column::text,
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'nebula_last_seen'
                           AND NOT a.attisdropped AND a.atttypid = 'timestamptz'::regtype),
                c.relowner,
                (SELECT count(*) = 2 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                    AND (a.attname, a.atttypid) IN ((l.id_column, 'uuid'::regtype), (l.ip_column, 'inet'::regtype))),
                NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
                      AND (d.classid, d.objid) IN (
                           SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k WHERE k.conrelid = c.oid UNION ALL
                           SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid))
           FROM nebula.linked_table l JOIN pg_class c ON c.oid = l.target",
    );
    let before = HEARD.get();
    let read = |row: &Row<'_>| {
        let link = if row.need::<bool>(7)? { Some(Link::read(row)?) } else { None };
        Ok((row.need(1)?, link))
    };
    let mut links = Links { usable: Vec::new(), watched: Vec::new(), current: Cell::new(true) };
    for (target, link) in LINKS.rows(&[], read)? {
        links.watched.push(target);
        links.usable.extend(link);
    }
    links.current.set(HEARD.get() == before);
    let links = Rc::new(links);
    // An old snapshot shows old links; and a change heard of while reading may have come after the snapshot.
    if links.current.get() && !snapshot_is_fixed() {
        LINKED.set(Some(Rc::clone(&links)));
    }
    Ok(links)
}

/// Whether this session writes linked tables below SQL.
#[cfg(feature = "pg_test")]
pub(crate) fn is_written_below() -> bool {
    links().is_ok_and(|links| links.usable.iter().all(|link| link.linked.is_some()))
}

/// Shows what a device holds now in every linked table: the IPv4 address if it holds two. For the extension's owner.
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
    show_rows(&[(device, held.map(|ip| Host(ip.address)))])
}

/// The same for a device that holds this address only just now, with the caller's privileges.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_new(device: Uuid, address: IpAddr) -> Result<()> {
    // An IPv6 address is shown only where there is no IPv4 one.
    if address.is_ipv4() { show_rows(&[(device, Some(Host(address)))]) } else { as_owner(|| show(device)) }
}

/// The same for a device that holds nothing any more.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_nothing(device: Uuid) -> Result<()> {
    show_rows(&[(device, None)])
}

/// Shows many new holdings at once. Devices that hold two addresses are shown one by one.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_all(held: &[(Uuid, IpAddr)]) -> Result<()> {
    if links()?.usable.is_empty() {
        return Ok(());
    }
    // An IPv6 address is shown only where there is no IPv4 one.
    let (four, six): (Vec<_>, Vec<_>) = held.iter().copied().partition(|(_, address)| address.is_ipv4());
    for (device, _) in six {
        show(device)?;
    }
    let mut rows: Vec<Shown> =
        four.into_iter().map(|(device, address)| (device, Some(Host(address)))).collect();
    // As they lie in the index; and who waits for another batch waits in the same order as that.
    rows.sort_unstable_by_key(|(device, _)| *device);
    show_rows(&rows)
}

fn show_rows(rows: &[Shown]) -> Result<()> {
    let links = links()?;
    for link in &links.usable {
        let rest = link.write(rows, &links.current)?;
        if !rest.is_empty() {
            as_owner(|| link.update(&rest))?;
        }
    }
    Ok(())
}

impl Link {
    fn read(row: &Row<'_>) -> Result<Self> {
        let (target, owner) = (row.need(1)?, row.need(6)?);
        let (id, ip): (String, String) = (row.need(3)?, row.need(4)?);
        // A function that is replaced does not say so to those who keep what it was made into.
        let linked = if row.need(8)? && !snapshot_is_fixed() {
            // What is computed beforehand of its constraints must not be with our privileges.
            as_role(owner, || Linked::new(target, &id, &ip))?
        } else {
            None
        };
        Ok(Self {
            table: row.need(2)?,
            id: quote_identifier(id),
            ip: quote_identifier(ip),
            seen: row.need(5)?,
            owner,
            linked,
        })
    }

    /// Shows rows below SQL, and answers those that need SQL.
    fn write(&self, rows: &[Shown], current: &Cell<bool>) -> Result<Vec<Shown>> {
        let Some(linked) = self.linked.as_ref().filter(|_| !snapshot_is_fixed()) else {
            return Ok(rows.to_vec());
        };
        let write = || as_role(self.owner, || linked.show(rows, || current.get()));
        if linked.runs_code() { as_owner(write) } else { write() }
    }

    /// Shows rows with SQL.
    fn update(&self, rows: &[Shown]) -> Result<()> {
        let Self { table, id, ip, owner, .. } = self;
        if let [(device, address)] = rows {
            let update = Plan::made(format!(
                "UPDATE {table} SET {ip} = $2 WHERE {id} = $1 AND {ip} IS DISTINCT FROM $2"
            ));
            return as_role(*owner, || update.run(&[(*device).into(), (*address).into()]));
        }
        let update = Plan::made(format!(
            "UPDATE {table} AS t SET {ip} = n.ip FROM unnest($1, $2) AS n(id, ip)
              WHERE t.{id} = n.id AND t.{ip} IS DISTINCT FROM n.ip"
        ));
        let (devices, addresses): (Vec<Uuid>, Vec<Option<Host>>) = rows.iter().copied().unzip();
        as_role(*owner, || update.run(&[devices.into(), addresses.into()]))
    }
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
