//! Rows of nebula.allocation, as its triggers get them.
#![expect(unsafe_code, reason = "tuples are C structures")]

use std::num::NonZeroUsize;

use pgrx::PgTrigger;
use pgrx::htup::heap_getattr_raw;
use pgrx::prelude::*;

use crate::pg::datum::inet::Host;
use nebula_core::address::number;

/// The columns that matter to the map.
pub(super) struct Row {
    pub(super) pool: i32,
    /// The address.
    pub(super) number: u128,
    /// End of the quarantine, in PostgreSQL's microseconds.
    pub(super) quarantined_until: Option<i64>,
}

/// The rows before and after the change that fired a trigger on nebula.allocation; `None` where there is
/// none.
pub(super) fn of_trigger(trigger: &PgTrigger<'_>) -> (Option<Row>, Option<Row>) {
    let data = trigger.trigger_data();
    // SAFETY: PostgreSQL sets the relation, and the tuples when it fires for a row; they live as long as the
    // call.
    let row = |tuple: pg_sys::HeapTuple| unsafe { read(tuple, (*data.tg_relation).rd_att) };
    (row(data.tg_trigtuple), row(data.tg_newtuple))
}

/// # Safety
/// The tuple is null or has the shape of the description.
unsafe fn read(tuple: pg_sys::HeapTuple, shape: pg_sys::TupleDesc) -> Option<Row> {
    if tuple.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller; the columns have the types of the extension's own script.
    unsafe {
        let column = |name: &std::ffi::CStr| {
            let number = usize::try_from(pg_sys::SPI_fnumber(shape, name.as_ptr())).ok()?;
            heap_getattr_raw(tuple, NonZeroUsize::new(number)?, shape)
        };
        Some(Row {
            pool: column(c"pool_id")?.value() as i32,
            number: number(Host::read(column(c"ip")?).0),
            quarantined_until: column(c"quarantined_until").map(|until| until.value() as i64),
        })
    }
}
