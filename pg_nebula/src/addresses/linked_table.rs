//! Linked tables: tables of the application with a column that follows each device's address, in the same transaction.
//!
//! They are written by SQL and with their owner's privileges, so that their constraints, triggers and rules run as for
//! any other UPDATE, and with no more rights than their owner has.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::spi::quote_identifier;
use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::{Host, network};
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::privilege::{as_owner, as_role};
use crate::pg::session::snapshot_is_fixed;
use crate::pg::statement::{Row, Statement};

/// A linked table that exists and has the columns.
struct LinkedTable {
    /// Its name, quoted for SQL.
    table: String,
    /// Column with the device's identifier, quoted for SQL.
    id: String,
    /// Column that follows the address, quoted for SQL.
    ip: String,
    /// Whether it has a column `nebula_last_seen`.
    has_last_seen: bool,
    owner: pg_sys::Oid,
}

/// A device and the address its row is to have.
type LinkedRow = (Uuid, Option<Host>);

/// All linked tables.
struct LinkedTables {
    writable: Vec<LinkedTable>,
    /// Those that exist, writable or not: one that lacks a column may get it.
    watched: Vec<pg_sys::Oid>,
}

thread_local! {
    /// The linked tables, kept until one of them changes, so that an allocation without any reads nothing.
    static LINKED: RefCell<Option<Rc<LinkedTables>>> = const { RefCell::new(None) };
    /// Counts changes heard of, so that what was read while one arrived is not kept.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Tables were linked or unlinked: reads the list again.
pub(crate) fn forget() {
    CHANGES.set(CHANGES.get() + 1);
    LINKED.set(None);
}

/// A table was altered or dropped: reads the list again if it is a linked one.
pub(crate) fn forget_table(table: pg_sys::Oid) {
    CHANGES.set(CHANGES.get() + 1);
    if LINKED.with_borrow(|known| known.as_ref().is_some_and(|known| known.watched.contains(&table))) {
        LINKED.set(None);
    }
}

/// Whether there may be a linked table to write.
pub(crate) fn may_exist() -> bool {
    LINKED.with_borrow(|known| known.as_ref().is_none_or(|known| !known.writable.is_empty()))
}

/// The linked tables. One that was dropped or lost a column is left out, so that devices still get addresses.
fn linked_tables() -> Result<Rc<LinkedTables>> {
    LINKED.with_borrow(Clone::clone).map_or_else(|| as_owner(read), Ok)
}

fn read() -> Result<Rc<LinkedTables>> {
    static LIST: Statement = Statement::new(
        "SELECT c.oid, l.target::text, l.id_column::text, l.ip_column::text,
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'nebula_last_seen'
                           AND NOT a.attisdropped AND a.atttypid = 'timestamptz'::regtype),
                c.relowner,
                (SELECT count(*) = 2 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                    AND (a.attname, a.atttypid) IN ((l.id_column, 'uuid'::regtype), (l.ip_column, 'inet'::regtype)))
           FROM nebula.linked_table l JOIN pg_class c ON c.oid = l.target",
    );
    let before = CHANGES.get();
    let read = |row: &Row<'_>| {
        let table = if row.need::<bool>(7)? { Some(LinkedTable::read(row)?) } else { None };
        Ok((row.need::<pg_sys::Oid>(1)?, table))
    };
    let (watched, tables): (Vec<_>, Vec<_>) = LIST.query(&[], read)?.into_iter().unzip();
    let tables = Rc::new(LinkedTables { writable: tables.into_iter().flatten().collect(), watched });
    // An old snapshot shows an old list; and a change heard of while reading may be newer than the snapshot.
    if CHANGES.get() == before && !snapshot_is_fixed() {
        LINKED.set(Some(Rc::clone(&tables)));
    }
    Ok(tables)
}

/// Writes what a device holds now into every linked table: its IPv4 address if it holds two. Needs the owner's rights.
///
/// # Errors
/// Whatever the table's own constraints and triggers raise.
pub(crate) fn sync(device: Uuid) -> Result<()> {
    static HELD: Statement = Statement::new(
        "SELECT ip FROM nebula.allocation WHERE device_id = $1 AND released_at IS NULL ORDER BY family(ip) LIMIT 1",
    );
    if linked_tables()?.writable.is_empty() {
        return Ok(());
    }
    let held: Option<Inet> = HELD.query_opt(&[device.into()], |row| row.need(1))?;
    let held = held.map(|ip| network(&ip)).transpose()?;
    write(&[(device, held.map(|ip| Host(ip.address)))])
}

/// The same for a device that has just got this address; works with the caller's privileges.
///
/// # Errors
/// As [`sync`].
pub(crate) fn sync_allocated(device: Uuid, address: IpAddr) -> Result<()> {
    // An IPv6 address is written only where there is no IPv4 address.
    if address.is_ipv4() { write(&[(device, Some(Host(address)))]) } else { as_owner(|| sync(device)) }
}

/// The same for a device that holds nothing any more; works with the caller's privileges.
///
/// # Errors
/// As [`sync`].
pub(crate) fn sync_released(device: Uuid) -> Result<()> {
    write(&[(device, None)])
}

/// The same for many devices that have just got an address. Devices that hold two are written one by one.
///
/// # Errors
/// As [`sync`].
pub(crate) fn sync_all(held: &[(Uuid, IpAddr)]) -> Result<()> {
    if linked_tables()?.writable.is_empty() {
        return Ok(());
    }
    // An IPv6 address is written only where there is no IPv4 address.
    let (four, six): (Vec<_>, Vec<_>) = held.iter().copied().partition(|(_, address)| address.is_ipv4());
    for (device, _) in six {
        sync(device)?;
    }
    let mut rows: Vec<LinkedRow> =
        four.into_iter().map(|(device, address)| (device, Some(Host(address)))).collect();
    // In one order, so that two batches with the same devices wait for each other instead of deadlocking.
    rows.sort_unstable_by_key(|(device, _)| *device);
    write(&rows)
}

fn write(rows: &[LinkedRow]) -> Result<()> {
    let tables = linked_tables()?;
    if tables.writable.is_empty() || rows.is_empty() {
        return Ok(());
    }
    as_owner(|| tables.writable.iter().try_for_each(|table| table.update(rows)))
}

impl LinkedTable {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            table: row.need(2)?,
            id: quote_identifier(row.need::<String>(3)?),
            ip: quote_identifier(row.need::<String>(4)?),
            has_last_seen: row.need(5)?,
            owner: row.need(6)?,
        })
    }

    fn update(&self, rows: &[LinkedRow]) -> Result<()> {
        let Self { table, id, ip, owner, .. } = self;
        if let [(device, address)] = rows {
            let update = Statement::dynamic(format!(
                "UPDATE {table} SET {ip} = $2 WHERE {id} = $1 AND {ip} IS DISTINCT FROM $2"
            ));
            return as_role(*owner, || update.run(&[(*device).into(), (*address).into()]));
        }
        let update = Statement::dynamic(format!(
            "UPDATE {table} AS t SET {ip} = n.ip FROM unnest($1, $2) AS n(id, ip)
              WHERE t.{id} = n.id AND t.{ip} IS DISTINCT FROM n.ip"
        ));
        let (devices, addresses): (Vec<Uuid>, Vec<Option<Host>>) = rows.iter().copied().unzip();
        as_role(*owner, || update.run(&[devices.into(), addresses.into()]))
    }

    /// Sets `nebula_last_seen` of a device; whether the table has a row of it.
    fn touch(&self, device: Uuid) -> Result<bool> {
        let Self { table, id, owner, .. } = self;
        if !self.has_last_seen {
            return Ok(false);
        }
        let update =
            Statement::dynamic(format!("UPDATE {table} SET nebula_last_seen = now() WHERE {id} = $1"));
        Ok(as_role(*owner, || update.execute(&[device.into()]))? > 0)
    }
}

/// Writes into linked tables what these devices hold now, and NULL for those that hold nothing. For check_pool.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn show_addresses(device_ids: Option<Vec<Option<Uuid>>>) -> sql::Result<()> {
    for device in required(device_ids, "device_ids")?.into_iter().flatten() {
        sync(device)?;
    }
    Ok(())
}

/// Notes a sign of life of a device, here and in linked tables with a column `nebula_last_seen`.
///
/// It does not prolong a lease: that is renew_lease. Errors: P0002 no such device.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn touch_device(device_id: Option<Uuid>) -> sql::Result<()> {
    static SEEN: Statement = Statement::new(
        "UPDATE nebula.device SET last_seen_at = now() WHERE device_id = $1 RETURNING device_id",
    );
    static HOLDS: Statement =
        Statement::new("SELECT FROM nebula.allocation WHERE device_id = $1 AND released_at IS NULL");
    let device = required(device_id, "device_id")?;
    let mut known = SEEN.exists(&[device.into()])? || HOLDS.exists(&[device.into()])?;
    for table in &linked_tables()?.writable {
        known |= table.touch(device)?;
    }
    if known {
        return Ok(());
    }
    Err(Error::new(
        Kind::Missing,
        format!("there is no device {device}"),
        "List devices: SELECT device_id, name FROM nebula.device_status.",
    ))?
}
