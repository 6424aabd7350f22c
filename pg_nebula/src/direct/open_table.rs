//! A table that stays open for several looks and rows.

use std::ffi::CStr;
use std::rc::Rc;

use pgrx::{Uuid, pg_sys};

use super::handle::{OpenRelation, TableHandle};
use super::{IndexScan, InsertOutcome, KeyValue};
use crate::pg::error::Result;

/// See [`super::Table::open`].
pub(crate) struct OpenTable {
    handle: Rc<TableHandle>,
    open: OpenRelation,
}

impl OpenTable {
    pub(super) fn new(handle: Rc<TableHandle>, lock: pg_sys::LOCKMODE) -> Self {
        let open = OpenRelation::table(handle.table, lock);
        Self { handle, open }
    }

    /// Whether there is a row of this key, in an index that begins with an identifier, as of now; what others have in
    /// flight is not seen.
    pub(crate) fn contains(&self, index: &'static CStr, key: Uuid) -> Result<bool> {
        self.exists(&IndexScan::exact(index, &[KeyValue::uuid(key)?]))
    }

    /// The same of any search.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn exists(&self, search: &IndexScan<'_>) -> Result<bool> {
        let index = self.handle.index(search.index)?;
        // SAFETY: indexes are named after their table.
        Ok(unsafe { self.handle.exists(&self.open, index, search) })
    }

    /// Writes one row, its values in the order of the columns. Waits for nobody: a row of a transaction in flight
    /// counts as taken.
    pub(crate) fn try_insert(&self, values: &[Option<pg_sys::Datum>]) -> InsertOutcome {
        if self.handle.can_insert() {
            self.handle.try_insert(&self.open, values)
        } else {
            InsertOutcome::UseSql
        }
    }
}
