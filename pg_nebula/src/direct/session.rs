//! A table that stays open for several looks and rows.

use std::ffi::CStr;
use std::rc::Rc;

use pgrx::{Uuid, pg_sys};

use super::handle::{Open, Prepared};
use super::{Search, Value, Written};
use crate::pg::error::Result;

/// See [`super::Table::open`].
pub(crate) struct Opened {
    prepared: Rc<Prepared>,
    open: Open,
}

impl Opened {
    pub(super) fn new(prepared: Rc<Prepared>, lock: pg_sys::LOCKMODE) -> Self {
        let open = Open::table(prepared.table, lock);
        Self { prepared, open }
    }

    /// Whether there is a row of this key, in an index that begins with an identifier, as of now; what others have in
    /// flight is not seen.
    pub(crate) fn holds(&self, index: &'static CStr, key: Uuid) -> Result<bool> {
        self.sees(&Search::exact(index, &[Value::uuid(key)?]))
    }

    /// The same of any search.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn sees(&self, search: &Search<'_>) -> Result<bool> {
        let index = self.prepared.index(search.index)?;
        // SAFETY: indexes are named after their table.
        Ok(unsafe { self.prepared.sees(&self.open, index, search) })
    }

    /// Writes one row, its values in the order of the columns. Waits for nobody: a row of a transaction in flight
    /// counts as taken.
    pub(crate) fn insert(&self, values: &[Option<pg_sys::Datum>]) -> Written {
        if self.prepared.is_plain() { self.prepared.insert(&self.open, values) } else { Written::UseSql }
    }
}
