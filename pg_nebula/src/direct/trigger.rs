//! The trigger of tables that sessions cache.

use pgrx::PgTrigger;
use pgrx::prelude::*;

use crate::pg::catalog::tell_changed;
use crate::pg::error::Error;

/// Statement trigger: when the transaction commits, all sessions drop what they have cached of this table.
#[pg_trigger]
fn table_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, Error> {
    tell_changed(trigger.relid().map_err(|_| Error::corrupt_schema("table of a trigger"))?);
    Ok(None)
}
