//! Triggers that keep the map in step with the tables, whoever changes them: this extension, an administrator, or a
//! replication worker. Rows that are inserted need none: the map learns of them when an insert conflicts.

use pgrx::PgTrigger;
use pgrx::prelude::*;

use super::pending::record;
use super::row::{self, Row};
use super::{cursor, shared};
use crate::pg::catalog::{tell_pools_changed, tell_released};
use crate::pg::error::Error;
use crate::pg::session::{database, statement_start};
use nebula_core::pending_addresses::ChangeKind;

/// What a trigger function answers; after the change nobody looks at it.
type Answer<'a> = Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, Error>;

/// Trigger: the address of a row that is deleted, or whose quarantine is changed, may become free.
#[pg_trigger]
fn allocation_changed<'a>(trigger: &'a PgTrigger<'a>) -> Answer<'a> {
    match row::of_trigger(trigger) {
        // TRUNCATE: no row to look at, and none is left.
        (None, _) => restart(0)?,
        (Some(old), Some(new)) if (new.pool, new.number) == (old.pool, old.number) => {
            match new.quarantined_until {
                Some(until) if until > statement_start() => quarantined(new.pool, new.number, until),
                Some(_) => release_row(&old)?,
                None => {}
            }
        }
        (Some(old), _) => release_row(&old)?,
    }
    Ok(None)
}

/// The address waits in quarantine until then, in PostgreSQL's microseconds, if this transaction commits.
pub(crate) fn quarantined(pool: i32, number: u128, until: i64) {
    record(pool, number, ChangeKind::Quarantined(until));
}

fn release_row(row: &Row) -> Result<(), Error> {
    released(row.pool, row.number)
}

/// The row of this address was deleted: it becomes free when this transaction commits.
pub(crate) fn released(pool: i32, number: u128) -> Result<(), Error> {
    record(pool, number, ChangeKind::Released);
    if shared::present() {
        return Ok(());
    }
    cursor::lower(pool, number);
    tell_released()
}

/// Trigger: what a pool gives out has changed, so what is known of it is void; once a statement: sessions read their
/// pools again.
#[pg_trigger]
fn pool_changed<'a>(trigger: &'a PgTrigger<'a>) -> Answer<'a> {
    for row in [trigger.old(), trigger.new()].into_iter().flatten() {
        if let Ok(Some(pool)) = row.get_by_name::<i32>("pool_id") {
            restart(pool)?;
        }
    }
    tell_pools_changed()?;
    Ok(None)
}

/// At once for this transaction, and again for all when it commits; 0 is every pool.
fn restart(pool: i32) -> Result<(), Error> {
    shared::read(|map| map.invalidate(database(), (pool != 0).then_some(pool)));
    cursor::forget_all();
    record(pool, 0, ChangeKind::Invalidated);
    tell_pools_changed()
}
