//! The segments of `nebula.event`, and the one that takes what happens now.

use std::cell::RefCell;
use std::ffi::CStr;

use pgrx::prelude::*;

use super::{CacheToken, Sequence, Table};
use crate::pg::error::{Result, sql};

/// The partitioned table, whose row type callers give.
pub(super) const PARENT: &CStr = c"event";

static SEGMENTS: [Table; 16] = [
    segment(c"event_0"),
    segment(c"event_1"),
    segment(c"event_2"),
    segment(c"event_3"),
    segment(c"event_4"),
    segment(c"event_5"),
    segment(c"event_6"),
    segment(c"event_7"),
    segment(c"event_8"),
    segment(c"event_9"),
    segment(c"event_10"),
    segment(c"event_11"),
    segment(c"event_12"),
    segment(c"event_13"),
    segment(c"event_14"),
    segment(c"event_15"),
];

const fn segment(name: &'static CStr) -> Table {
    Table::whole(name).partition_of(PARENT)
}

/// The number of the current segment.
fn current() -> Result<i64> {
    static SEQUENCE: Sequence = Sequence::new(c"event_segment_seq");
    // Each change of the segment writes a row here. Sessions that have not received the invalidation yet
    // still use the last segment, which accepts rows as well.
    static CHANGES: Table = Table::new(c"event_segment", &[c"segment"]);
    thread_local! {
        static CURRENT: RefCell<(CacheToken, i64)> = const { RefCell::new((CacheToken::none(), 0)) };
    }
    CURRENT.with_borrow_mut(|(token, number)| {
        if !token.is_current() {
            *token = CHANGES.cache_token()?;
            *number = SEQUENCE.last_value()?;
        }
        Ok(*number)
    })
}

/// The table of the current segment; `None` when its number is out of range.
pub(super) fn current_table() -> Result<Option<&'static Table>> {
    Ok(usize::try_from(current()?).ok().and_then(|number| SEGMENTS.get(number)))
}

#[pg_extern]
fn event_segment() -> sql::Result<i64> {
    Ok(current()?)
}
