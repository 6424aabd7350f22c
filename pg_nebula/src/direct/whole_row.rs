//! Inserting a row that a function in SQL has made.
#![expect(unsafe_code, reason = "a row as a value is a C structure")]

use pgrx::AnyElement;
use pgrx::prelude::*;

use super::{InsertOutcome, Table, event_segment, is_on};
use crate::pg::catalog::relation;
use crate::pg::error::{Result, sql};

/// Tables whose rows are inserted this way. `place_peer` inserts the peer of a placement and raises the generation of
/// its interface in the same transaction, so both exist until that ends. `insert_peer` gives only peers without creator.
static TABLES: [Table; 2] = [
    Table::whole(c"peer").with_held_keys(&[c"peer_creator_id_fkey"]),
    Table::whole(c"placement").with_held_keys(&[c"placement_peer_id_fkey", c"placement_interface_id_fkey"]),
];

// For functions in SQL: saves starting an executor, which compiles the CHECK constraints anew for each statement.
#[pg_extern]
fn insert_row(p_row: Option<AnyElement>) -> sql::Result<bool> {
    match p_row {
        Some(row) if is_on() => Ok(insert(&row)?),
        _ => Ok(false),
    }
}

/// `false`: nothing was written, because the table is none of [`TABLES`] and no log of events, a unique index has the same
/// key, or this needs SQL.
fn insert(row: &AnyElement) -> Result<bool> {
    // SAFETY: answers InvalidOid for a type that is none of a table.
    let found = unsafe { pg_sys::get_typ_typrelid(row.oid()) };
    let mut table = None;
    for known in &TABLES {
        if relation(known.name)? == found {
            table = Some(known);
        }
    }
    if table.is_none() && relation(event_segment::PARENT)? == found {
        table = event_segment::current_table()?;
    }
    match table {
        // SAFETY: the value is a row of this table, or of the one that it is a segment of, since its type is.
        Some(table) => Ok(unsafe { table.insert_whole(row.datum()) }? == InsertOutcome::Inserted),
        None => Ok(false),
    }
}

impl Table {
    /// `INSERT … ON CONFLICT DO NOTHING` of one row with all its columns, but without waiting.
    ///
    /// # Safety
    /// `row` is a value of the row type of this table, which was made by [`Table::whole`], or of its parent. A partition
    /// made by `PARTITION OF`, as those of the extension are, has the columns of its parent in their order.
    unsafe fn insert_whole(&'static self, row: pg_sys::Datum) -> Result<InsertOutcome> {
        let table = self.open_for_writing()?;
        // SAFETY: as the caller promises; detoasting also flattens a row variable of PL/pgSQL. The values point into
        // the flat row, which lives as long as the call.
        let values = unsafe {
            let row = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
            let mut tuple: pg_sys::HeapTupleData = std::mem::zeroed();
            tuple.t_len = u32::try_from(pgrx::varsize_any(row.cast())).unwrap_or(0);
            tuple.t_data = row;
            table.deform(&mut tuple)
        };
        Ok(values.map_or(InsertOutcome::UseSql, |values| table.try_insert(&values)))
    }
}
