//! Linked tables: tables of the application with a column that follows each device's address, in the same
//! transaction.
//!
//! They are written by SQL and with their owner's privileges, so that their constraints, triggers and rules
//! run as for any other UPDATE, and with no more rights than their owner has.

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
    /// All that exist, also those that lack a column, because it may be added.
    existing: Vec<pg_sys::Oid>,
}

thread_local! {
    /// Kept until a linked table changes, so that an allocation reads nothing if there is none.
    static LINKED: RefCell<Option<Rc<LinkedTables>>> = const { RefCell::new(None) };
    /// Counts invalidations, so that a list which was read while one arrived is not kept.
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
}

/// A table was linked or unlinked: the list is read again before its next use.
pub(crate) fn invalidate() {
    INVALIDATIONS.set(INVALIDATIONS.get() + 1);
    LINKED.set(None);
}

/// A table was altered or dropped: if it is a linked one, the list is read again before its next use.
pub(crate) fn invalidate_table(table: pg_sys::Oid) {
    INVALIDATIONS.set(INVALIDATIONS.get() + 1);
    if LINKED.with_borrow(|known| known.as_ref().is_some_and(|known| known.existing.contains(&table))) {
        LINKED.set(None);
    }
}

/// Whether there may be a linked table to write.
pub(super) fn may_exist() -> bool {
    LINKED.with_borrow(|known| known.as_ref().is_none_or(|known| !known.writable.is_empty()))
}

/// The linked tables. A table that was dropped or lost a column is left out, so that allocations do not fail.
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
                    AND (a.attname, a.atttypid)
                        IN ((l.id_column, 'uuid'::regtype), (l.ip_column, 'inet'::regtype)))
           FROM nebula.linked_table l JOIN pg_class c ON c.oid = l.target",
    );
    let before = INVALIDATIONS.get();
    let read = |row: &Row<'_>| {
        let table = if row.need::<bool>(7)? { Some(LinkedTable::read(row)?) } else { None };
        Ok((row.need::<pg_sys::Oid>(1)?, table))
    };
    let (existing, tables): (Vec<_>, Vec<_>) = LIST.query(&[], read)?.into_iter().unzip();
    let tables = Rc::new(LinkedTables { writable: tables.into_iter().flatten().collect(), existing });
    // Not kept: a list of an old snapshot, and one that changed while it was read.
    if INVALIDATIONS.get() == before && !snapshot_is_fixed() {
        LINKED.set(Some(Rc::clone(&tables)));
    }
    Ok(tables)
}

/// Writes the address that a device holds now into every linked table: its IPv4 address if it holds two.
/// Needs the owner's privileges.
///
/// # Errors
/// Those of the table's own constraints and triggers.
pub(super) fn sync(device: Uuid) -> Result<()> {
    static HELD: Statement = Statement::new(
        "SELECT ip FROM nebula.allocation WHERE device_id = $1 AND released_at IS NULL
           ORDER BY family(ip) LIMIT 1",
    );
    if linked_tables()?.writable.is_empty() {
        return Ok(());
    }
    let held: Option<Inet> = HELD.query_opt(&[device.into()], |row| row.need(1))?;
    let held = held.map(|ip| network(&ip)).transpose()?;
    update_all(&[(device, held.map(|ip| Host(ip.address)))])
}

/// As [`sync`], for a device without another address that was just allocated this one; with the caller's
/// privileges.
///
/// # Errors
/// As [`sync`].
pub(super) fn sync_allocated(device: Uuid, address: IpAddr) -> Result<()> {
    // An IPv6 address is written only where there is no IPv4 address.
    if address.is_ipv4() { update_all(&[(device, Some(Host(address)))]) } else { as_owner(|| sync(device)) }
}

/// As [`sync`], for many devices that were just allocated an address. Devices with an IPv6 address are
/// written one by one, because they may hold an IPv4 address too.
///
/// # Errors
/// As [`sync`].
pub(super) fn sync_all(held: &[(Uuid, IpAddr)]) -> Result<()> {
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
    // Sorted, so that two calls with the same devices wait for each other instead of deadlocking.
    rows.sort_unstable_by_key(|(device, _)| *device);
    update_all(&rows)
}

fn update_all(rows: &[LinkedRow]) -> Result<()> {
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
        as_role(self.owner, || {
            let updated = self.update_visible(rows)?;
            // An UPDATE that waited for a transaction which deleted a row and inserted it again does not see
            // the new row: its snapshot is older. The second one has a new snapshot.
            if updated < rows.len() && self.differs_from(rows)? {
                self.update_visible(rows)?;
            }
            Ok(())
        })
    }

    /// Updates the rows that the statement sees, and returns their number.
    fn update_visible(&self, rows: &[LinkedRow]) -> Result<usize> {
        let Self { table, id, ip, .. } = self;
        if let [(device, address)] = rows {
            let update = Statement::dynamic(format!(
                "UPDATE {table} SET {ip} = $2 WHERE {id} = $1 AND {ip} IS DISTINCT FROM $2"
            ));
            return update.execute(&[(*device).into(), (*address).into()]);
        }
        let update = Statement::dynamic(format!(
            "UPDATE {table} AS t SET {ip} = n.ip FROM unnest($1, $2) AS n(id, ip)
              WHERE t.{id} = n.id AND t.{ip} IS DISTINCT FROM n.ip"
        ));
        let (devices, addresses): (Vec<Uuid>, Vec<Option<Host>>) = rows.iter().copied().unzip();
        update.execute(&[devices.into(), addresses.into()])
    }

    /// Whether the table has one of these rows with another address.
    fn differs_from(&self, rows: &[LinkedRow]) -> Result<bool> {
        let Self { table, id, ip, .. } = self;
        let differing = Statement::dynamic(format!(
            "SELECT FROM {table} AS t JOIN unnest($1, $2) AS n(id, ip) ON t.{id} = n.id
              WHERE t.{ip} IS DISTINCT FROM n.ip LIMIT 1"
        ));
        let (devices, addresses): (Vec<Uuid>, Vec<Option<Host>>) = rows.iter().copied().unzip();
        differing.exists(&[devices.into(), addresses.into()])
    }

    /// Sets `nebula_last_seen` of a device; `false`: the table has no row of it, or no such column.
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

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn sync_linked_tables(device_ids: Option<Vec<Option<Uuid>>>) -> sql::Result<()> {
    for device in required(device_ids, "device_ids")?.into_iter().flatten() {
        sync(device)?;
    }
    Ok(())
}

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
