//! The rows of jobs, which move between three tables below SQL.

use std::cell::RefCell;
use std::ffi::CStr;

use pgrx::prelude::*;

use crate::direct::{CacheToken, FoundRow, Sequence, Table};
use crate::pg::error::Result;

/// A value, or null.
pub(super) type Cell = Option<pg_sys::Datum>;

/// How many columns a job keeps whichever table it is in; they come first in each.
pub(super) const KEPT: usize = 14;

/// Columns by their number in the lists below.
pub(super) mod column {
    pub(in super::super) const JOB: usize = 0;
    pub(in super::super) const KIND: usize = 1;
    pub(in super::super) const PAYLOAD: usize = 2;
    pub(in super::super) const PROJECT: usize = 3;
    pub(in super::super) const PRIORITY: usize = 4;
    pub(in super::super) const RUN_AT: usize = 5;
    pub(in super::super) const ATTEMPT: usize = 6;
    pub(in super::super) const MAX_ATTEMPTS: usize = 7;
    pub(in super::super) const NODE: usize = 9;
    pub(in super::super) const CAPABILITY: usize = 10;
    pub(in super::super) const UNIQUE_KEY: usize = 11;
    pub(in super::super) const ERRORS: usize = 12;
    /// Of running jobs.
    pub(in super::super) const WORKER: usize = super::KEPT;
    pub(in super::super) const STARTED_AT: usize = super::KEPT + 1;
    pub(in super::super) const LEASE: usize = super::KEPT + 2;
    pub(in super::super) const LEASE_UNTIL: usize = super::KEPT + 3;
    pub(in super::super) const LIMITED: usize = super::KEPT + 4;
    pub(in super::super) const PROGRESS: usize = super::KEPT + 5;
    pub(in super::super) const DETAIL: usize = super::KEPT + 6;
    pub(in super::super) const CANCEL_REQUESTED: usize = super::KEPT + 7;
}

/// What a job keeps, then what is particular to the table.
macro_rules! columns {
    ($($own:literal),*) => {
        &[
            c"job_id",
            c"kind",
            c"payload",
            c"project_id",
            c"priority",
            c"run_at",
            c"attempt",
            c"max_attempts",
            c"on_dead",
            c"node_id",
            c"capability",
            c"unique_key",
            c"errors",
            c"enqueued_at",
            $($own),*
        ]
    };
}

pub(super) static WAITING: Table = Table::new(c"job_waiting", columns![c"ready", c"blocked_by"]);

/// The index on those that count towards a limit.
pub(super) const LIMITED: &CStr = c"job_running_limited_idx";
/// Its primary key.
pub(super) const RUNNING_BY_JOB: &CStr = c"job_running_pkey";

pub(super) static RUNNING: Table = Table::new(
    c"job_running",
    columns![
        c"worker",
        c"started_at",
        c"lease",
        c"lease_until",
        c"limited",
        c"progress",
        c"detail",
        c"cancel_requested"
    ],
);

/// The segments of nebula.job_finished.
static FINISHED: [Table; 8] = [
    segment(c"job_finished_0"),
    segment(c"job_finished_1"),
    segment(c"job_finished_2"),
    segment(c"job_finished_3"),
    segment(c"job_finished_4"),
    segment(c"job_finished_5"),
    segment(c"job_finished_6"),
    segment(c"job_finished_7"),
];

const fn segment(name: &'static CStr) -> Table {
    let columns = columns![
        c"worker",
        c"started_at",
        c"progress",
        c"detail",
        c"state",
        c"result",
        c"finished_at",
        c"segment"
    ];
    Table::new(name, columns).partition_of(c"job_finished")
}

/// The segment that takes what finishes now, with its number.
pub(super) fn present_segment() -> Result<Option<(i64, &'static Table)>> {
    static SEGMENT: Sequence = Sequence::new(c"job_segment_seq");
    // Whoever turns to the next segment writes here, too. Until that is heard, the last one does as well.
    static TURNS: Table = Table::new(c"job_segment", &[c"segment"]);
    thread_local! {
        static PRESENT: RefCell<(CacheToken, i64)> = const { RefCell::new((CacheToken::none(), 0)) };
    }
    let number = PRESENT.with_borrow_mut(|(stamp, number)| -> Result<i64> {
        if !stamp.is_current() {
            *stamp = TURNS.cache_token()?;
            *number = SEGMENT.last_value()?;
        }
        Ok(*number)
    })?;
    let place = usize::try_from(number).ok();
    Ok(place.and_then(|place| FINISHED.get(place)).map(|table| (number, table)))
}

/// Copies what a job keeps.
pub(super) fn keep(row: &FoundRow<'_>, values: &mut [Cell]) {
    for (column, value) in values[..KEPT].iter_mut().enumerate() {
        *value = row.get(column);
    }
}

/// Copies what a job that has finished keeps besides, then adds how it ended.
pub(super) fn finish(row: &FoundRow<'_>, values: &mut [Cell], end: &[Cell; 4]) {
    keep(row, values);
    let kept = [column::WORKER, column::STARTED_AT, column::PROGRESS, column::DETAIL];
    for (value, from) in values[KEPT..].iter_mut().zip(kept) {
        *value = row.get(from);
    }
    values[KEPT + kept.len()..].copy_from_slice(end);
}
