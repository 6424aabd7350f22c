//! Triggers that tell the map of changed rows, also of rows changed by an administrator or a replication
//! worker.
//!
//! Inserts have no trigger, to keep them cheap: the map learns of a row inserted by hand when an insert
//! conflicts.

use pgrx::PgTrigger;
use pgrx::prelude::*;

use super::pending::record;
use super::row;
use super::{cursor, shared};
use crate::pg::catalog::{tell_pools_changed, tell_released};
use crate::pg::error::Error;
use crate::pg::session::{database, statement_start};
use nebula_core::pending_addresses::ChangeKind;

/// Return type of AFTER triggers; PostgreSQL ignores the value.
type TriggerResult<'a> = Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, Error>;

/// Trigger: the address of a row that is deleted, or whose quarantine is changed, may become free.
#[pg_trigger]
fn allocation_changed<'a>(trigger: &'a PgTrigger<'a>) -> TriggerResult<'a> {
    match row::of_trigger(trigger) {
        // TRUNCATE has no row, and leaves none.
        (None, _) => invalidate(0)?,
        (Some(old), Some(new)) if (new.pool, new.number) == (old.pool, old.number) => {
            match new.quarantined_until {
                Some(until) if until > statement_start() => address_quarantined(new.pool, new.number, until),
                Some(_) => address_released(old.pool, old.number)?,
                None => {}
            }
        }
        (Some(old), _) => address_released(old.pool, old.number)?,
    }
    Ok(None)
}

/// Records that the address is in quarantine until a time, in PostgreSQL's microseconds, if this transaction
/// commits.
pub(crate) fn address_quarantined(pool: i32, number: u128, until: i64) {
    record(pool, number, ChangeKind::Quarantined(until));
}

/// Records that the row of an address was deleted: the address becomes free when this transaction commits.
pub(crate) fn address_released(pool: i32, number: u128) -> Result<(), Error> {
    record(pool, number, ChangeKind::Released);
    if shared::is_present() {
        return Ok(());
    }
    cursor::lower(pool, number);
    tell_released()
}

/// Trigger. For each row: the assignable addresses of a pool changed, so its pages are invalidated. For each
/// statement: sessions invalidate their cached pools.
#[pg_trigger]
fn pool_changed<'a>(trigger: &'a PgTrigger<'a>) -> TriggerResult<'a> {
    for row in [trigger.old(), trigger.new()].into_iter().flatten() {
        if let Ok(Some(pool)) = row.get_by_name::<i32>("pool_id") {
            invalidate(pool)?;
        }
    }
    tell_pools_changed()?;
    Ok(None)
}

/// Invalidates the pages of a pool, or of all pools when `pool` is 0: now, for this transaction, and again at
/// its commit, because until then other sessions load pages from the old rows.
fn invalidate(pool: i32) -> Result<(), Error> {
    shared::read(|map| map.invalidate(database(), (pool != 0).then_some(pool)));
    cursor::reset_all();
    record(pool, 0, ChangeKind::Invalidated);
    tell_pools_changed()
}
