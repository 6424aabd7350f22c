//! What tables do for sessions that remember their rows.

use pgrx::PgTrigger;
use pgrx::prelude::*;

use crate::pg::catalog::tell_changed;
use crate::pg::error::Error;

/// Trigger: sessions remember what is in this table, and read it again.
#[pg_trigger]
fn table_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, Error> {
    tell_changed(trigger.relid().map_err(|_| Error::corrupt_schema("table of a trigger"))?);
    Ok(None)
}
