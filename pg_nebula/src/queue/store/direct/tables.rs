//! The tables of the queue as far as they are read and written directly, with their columns and indexes.

use std::cell::RefCell;
use std::ffi::CStr;

use pgrx::prelude::*;

use crate::direct::{CacheToken, FoundRow, Sequence, Table};
use crate::pg::error::Result;

/// A value, or NULL.
pub(super) type Cell = Option<pg_sys::Datum>;

/// Names as C strings, at compile time.
macro_rules! c_names {
    ($($name:expr),*) => { [$(c_name(concat!($name, "\0"))),*] };
}

const fn c_name(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name has one NUL, at its end"),
    }
}

/// The columns that a job has in all three tables; they come first in the list of each.
const JOB: &[&CStr] = &job_columns!(as c_names);
pub(super) const JOB_COLUMNS: usize = JOB.len();

/// The columns of a job, then those particular to a table.
const fn with_job_columns<const ALL: usize>(own: &[&'static CStr]) -> [&'static CStr; ALL] {
    assert!(ALL == JOB_COLUMNS + own.len());
    let mut all = [c""; ALL];
    let mut number = 0;
    while number < ALL {
        all[number] = if number < JOB_COLUMNS { JOB[number] } else { own[number - JOB_COLUMNS] };
        number += 1;
    }
    all
}

pub(super) const WAITING_COLUMNS: usize = JOB_COLUMNS + 2;
static WAITING_NAMES: [&CStr; WAITING_COLUMNS] = with_job_columns(&[c"ready", c"blocked_by"]);
pub(super) static WAITING: Table = Table::new(c"job_waiting", &WAITING_NAMES);
/// `(kind, -priority, run_at, job_id)` of the jobs that any worker can claim.
pub(super) const WAITING_CLAIM: &CStr = c"job_waiting_claim_idx";

pub(super) const RUNNING_COLUMNS: usize = JOB_COLUMNS + 8;
static RUNNING_NAMES: [&CStr; RUNNING_COLUMNS] = with_job_columns(&[
    c"worker",
    c"started_at",
    c"lease",
    c"lease_until",
    c"limited",
    c"progress",
    c"detail",
    c"cancel_requested",
]);
pub(super) static RUNNING: Table = Table::new(c"job_running", &RUNNING_NAMES);
/// `(job_id)`
pub(super) const RUNNING_KEY: &CStr = c"job_running_pkey";

pub(super) const FINISHED_COLUMNS: usize = JOB_COLUMNS + 8;
static FINISHED_NAMES: [&CStr; FINISHED_COLUMNS] = with_job_columns(&[
    c"worker",
    c"started_at",
    c"progress",
    c"detail",
    c"state",
    c"result",
    c"finished_at",
    c"segment",
]);
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
    Table::new(name, &FINISHED_NAMES).partition_of(c"job_finished")
}

/// Only for its cache token.
pub(in super::super) static POLICY: Table = Table::new(c"job_policy", &[c"kind"]);
/// Only for its cache token.
pub(in super::super) static QUOTA: Table = Table::new(c"job_quota", &[c"project_id"]);

/// Columns by their number in the lists above; those of a job have the same number in all three tables.
pub(super) mod column {
    use super::{CStr, FINISHED_NAMES, JOB, RUNNING_NAMES, WAITING_NAMES};

    pub(in super::super) const JOB_ID: usize = number(JOB, c"job_id");
    pub(in super::super) const KIND: usize = number(JOB, c"kind");
    pub(in super::super) const PAYLOAD: usize = number(JOB, c"payload");
    pub(in super::super) const PROJECT_ID: usize = number(JOB, c"project_id");
    pub(in super::super) const PRIORITY: usize = number(JOB, c"priority");
    pub(in super::super) const RUN_AT: usize = number(JOB, c"run_at");
    pub(in super::super) const ATTEMPT: usize = number(JOB, c"attempt");
    pub(in super::super) const MAX_ATTEMPTS: usize = number(JOB, c"max_attempts");
    pub(in super::super) const ON_DEAD: usize = number(JOB, c"on_dead");
    pub(in super::super) const NODE_ID: usize = number(JOB, c"node_id");
    pub(in super::super) const CAPABILITY: usize = number(JOB, c"capability");
    pub(in super::super) const UNIQUE_KEY: usize = number(JOB, c"unique_key");
    pub(in super::super) const ERRORS: usize = number(JOB, c"errors");
    pub(in super::super) const ENQUEUED_AT: usize = number(JOB, c"enqueued_at");

    pub(in super::super) const READY: usize = number(&WAITING_NAMES, c"ready");
    pub(in super::super) const BLOCKED_BY: usize = number(&WAITING_NAMES, c"blocked_by");

    pub(in super::super) const WORKER: usize = number(&RUNNING_NAMES, c"worker");
    pub(in super::super) const STARTED_AT: usize = number(&RUNNING_NAMES, c"started_at");
    pub(in super::super) const LEASE: usize = number(&RUNNING_NAMES, c"lease");
    pub(in super::super) const LEASE_UNTIL: usize = number(&RUNNING_NAMES, c"lease_until");
    pub(in super::super) const LIMITED: usize = number(&RUNNING_NAMES, c"limited");
    pub(in super::super) const PROGRESS: usize = number(&RUNNING_NAMES, c"progress");
    pub(in super::super) const DETAIL: usize = number(&RUNNING_NAMES, c"detail");
    pub(in super::super) const CANCEL_REQUESTED: usize = number(&RUNNING_NAMES, c"cancel_requested");

    pub(in super::super) const FINISHED_WORKER: usize = number(&FINISHED_NAMES, c"worker");
    pub(in super::super) const FINISHED_STARTED_AT: usize = number(&FINISHED_NAMES, c"started_at");
    pub(in super::super) const FINISHED_PROGRESS: usize = number(&FINISHED_NAMES, c"progress");
    pub(in super::super) const FINISHED_DETAIL: usize = number(&FINISHED_NAMES, c"detail");
    pub(in super::super) const STATE: usize = number(&FINISHED_NAMES, c"state");
    pub(in super::super) const RESULT: usize = number(&FINISHED_NAMES, c"result");
    pub(in super::super) const FINISHED_AT: usize = number(&FINISHED_NAMES, c"finished_at");
    pub(in super::super) const SEGMENT: usize = number(&FINISHED_NAMES, c"segment");

    /// A name that is not in the list fails to compile.
    const fn number(names: &[&CStr], name: &CStr) -> usize {
        let mut number = 0;
        while !equal(names[number].to_bytes(), name.to_bytes()) {
            number += 1;
        }
        number
    }

    const fn equal(one: &[u8], other: &[u8]) -> bool {
        let mut at = 0;
        while at < one.len() && at < other.len() && one[at] == other[at] {
            at += 1;
        }
        at == one.len() && at == other.len()
    }
}

/// A segment of nebula.job_finished.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) number: i64,
    pub(super) table: &'static Table,
}

/// The segment that jobs which finish now go to; `None` when its number is out of range.
pub(super) fn current_segment() -> Result<Option<Segment>> {
    static SEQUENCE: Sequence = Sequence::new(c"job_segment_seq");
    // Each change of the segment writes a row here. Sessions that have not received the invalidation yet
    // still use the last segment, which accepts rows as well.
    static CHANGES: Table = Table::new(c"job_segment", &[c"segment"]);
    thread_local! {
        static CURRENT: RefCell<(CacheToken, i64)> = const { RefCell::new((CacheToken::none(), 0)) };
    }
    let number = CURRENT.with_borrow_mut(|(token, number)| -> Result<i64> {
        if !token.is_current() {
            *token = CHANGES.cache_token()?;
            *number = SEQUENCE.last_value()?;
        }
        Ok(*number)
    })?;
    let table = usize::try_from(number).ok().and_then(|number| FINISHED.get(number));
    Ok(table.map(|table| Segment { number, table }))
}

/// Copies the columns that a job has in all three tables.
pub(super) fn copy_job(row: &FoundRow<'_>, values: &mut [Cell]) {
    for (column, value) in values[..JOB_COLUMNS].iter_mut().enumerate() {
        *value = row.get(column);
    }
}
