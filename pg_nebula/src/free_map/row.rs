//! Rows of nebula.allocation, as its triggers get them.

use pgrx::PgTrigger;

use crate::pg::datum::inet::Host;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::trigger_row::{self, TriggerRow};
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
    let (old, new) = trigger_row::rows(trigger);
    (old.and_then(|row| read(&row)), new.and_then(|row| read(&row)))
}

fn read(row: &TriggerRow<'_>) -> Option<Row> {
    let Host(ip) = row.get(c"ip")?;
    Some(Row {
        pool: row.get(c"pool_id")?,
        number: number(ip),
        quarantined_until: row.get(c"quarantined_until").map(|Timestamp(until)| until),
    })
}
