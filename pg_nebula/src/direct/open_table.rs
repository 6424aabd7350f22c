//! A table that stays open for several operations.
#![expect(unsafe_code, reason = "rows are C structures")]

use std::rc::Rc;

use pgrx::{Uuid, pg_sys};

use super::handle::TableHandle;
use super::relation::OpenRelation;
use super::{IndexScan, InsertOutcome, KeyValue, version};
use crate::pg::error::Result;

/// An open table with its handle: saves opening it for each operation.
pub(crate) struct OpenTable {
    handle: Rc<TableHandle>,
    relation: OpenRelation,
}

impl OpenTable {
    /// The table is locked.
    pub(super) fn new(handle: Rc<TableHandle>) -> Self {
        let relation = handle.open();
        Self { handle, relation }
    }

    /// [`OpenTable::exists`] by a key of one uuid.
    pub(crate) fn contains(&self, index: &'static std::ffi::CStr, key: Uuid) -> Result<Option<bool>> {
        self.exists(&IndexScan::exact(index, &[KeyValue::uuid(key)?]))
    }

    /// Whether a scan finds a row that is committed now or written by this transaction. Rows of transactions
    /// in progress do not count. `None`: this needs SQL.
    pub(crate) fn exists(&self, scan: &IndexScan<'_>) -> Result<Option<bool>> {
        if !self.handle.is_whole() {
            return Ok(None);
        }
        self.handle.exists(&self.relation, scan).map(Some)
    }

    /// The values of a row, in the order of the table's list of columns. `None`: a column that has a default is null, so
    /// SQL may have to fill it in.
    ///
    /// # Safety
    /// The row is of this table's row type. The values are valid as long as it.
    pub(super) unsafe fn deform(
        &self,
        row: &mut pg_sys::HeapTupleData,
    ) -> Option<Vec<Option<pg_sys::Datum>>> {
        let count = self.handle.column_count();
        let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); count], vec![false; count]);
        // SAFETY: as the caller promises; both arrays have a place for each column.
        let attributes = unsafe {
            pg_sys::heap_deform_tuple(row, self.handle.descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            version::attributes(self.handle.descriptor)
        };
        let numbers = &self.handle.column_numbers;
        let needs_default = numbers.iter().any(|number| nulls[*number] && attributes[*number].atthasdef);
        let value = |number: &usize| (!nulls[*number]).then_some(values[*number]);
        (!needs_default).then(|| numbers.iter().map(value).collect())
    }

    /// Buffers that this session has read so far to add entries to the indexes of the table.
    pub(crate) fn entry_buffers(&self) -> i64 {
        self.handle.entry_buffers.get()
    }

    /// `INSERT … ON CONFLICT DO NOTHING`, but without waiting: a conflict with a transaction in progress
    /// counts as one. `values` are in the order of the table's list of columns, and have their types.
    pub(crate) fn try_insert(&self, values: &[Option<pg_sys::Datum>]) -> InsertOutcome {
        if self.handle.can_insert() {
            self.handle.try_insert(&self.relation, values)
        } else {
            InsertOutcome::UseSql
        }
    }
}
