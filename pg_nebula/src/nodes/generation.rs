//! Generations of what is wanted on the interfaces of nodes.

use pgrx::prelude::*;
use pgrx::{IntoDatum, Uuid};

use crate::direct::{IndexScan, KeyValue, Table, UpdateOutcome, is_on};
use crate::notify::node::notify;
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;

static INTERFACE: Table =
    Table::new(c"node_interface", &[c"node_id", c"generation"]).changing(&[c"generation"]);

/// Numbers of columns in the list of [`INTERFACE`].
mod column {
    pub(super) const NODE_ID: usize = 0;
    pub(super) const GENERATION: usize = 1;
}

// For functions in SQL.
#[pg_extern]
fn raise_generation(p_interface_id: Option<Uuid>) -> sql::Result<i64> {
    static RAISE: Statement = Statement::new(
        "UPDATE nebula.node_interface SET generation = generation + 1 WHERE interface_id = $1
         RETURNING node_id, generation",
    );
    let interface = required(p_interface_id, "p_interface_id")?;
    let mut raised = raise_directly(interface)?;
    if raised.is_none() {
        let read = |row: &crate::pg::statement::Row<'_>| Ok((row.need(1)?, row.need(2)?));
        raised = as_owner(|| RAISE.query_opt(&[interface.into()], read))?;
    }
    let (node, generation) = raised.ok_or_else(|| {
        Error::new(Kind::Missing, format!("there is no interface {interface}"), "Repeat the call.")
    })?;
    notify(node)?;
    Ok(generation)
}

/// The node and the new generation. `None`: there is no such interface, or this needs SQL.
fn raise_directly(interface: Uuid) -> Result<Option<(Uuid, i64)>> {
    if !is_on() {
        return Ok(None);
    }
    let key = [KeyValue::uuid(interface)?];
    let updated = INTERFACE.update(&IndexScan::exact(c"node_interface_pkey", &key), |row, values| {
        let generation = row.read::<i64>(column::GENERATION)? + 1;
        values[column::GENERATION] = generation.into_datum();
        Some((row.read(column::NODE_ID)?, generation))
    })?;
    Ok(match updated {
        UpdateOutcome::Updated(raised) => Some(raised),
        UpdateOutcome::NotFound | UpdateOutcome::UseSql => None,
    })
}
