//! Filling the slot of a handle, and checking the row in it.
#![expect(unsafe_code, reason = "slots and expressions are C structures")]

use pgrx::prelude::*;

use super::handle::TableHandle;
use super::relation::OpenRelation;
use super::version;

impl TableHandle {
    /// Fills a slot with a row; columns that are not in the table's list become NULL.
    ///
    /// # Safety
    /// The slot has the table's descriptor, and the values have the types of the columns.
    pub(super) unsafe fn fill(&self, slot: *mut pg_sys::TupleTableSlot, values: &[Option<pg_sys::Datum>]) {
        // SAFETY: as the caller promises; the column numbers were looked up in the descriptor, and a slot has
        // as many values as its descriptor has columns.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            let columns = self.column_count();
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, columns);
            let filled = std::slice::from_raw_parts_mut((*slot).tts_values, columns);
            nulls.fill(true);
            for (number, value) in self.column_numbers.iter().zip(values) {
                if let Some(value) = value {
                    filled[*number] = *value;
                    nulls[*number] = false;
                }
            }
            (*slot).tts_tableOid = self.table;
            pg_sys::ExecStoreVirtualTuple(slot);
        }
    }

    /// How many columns a row has, dropped ones included.
    pub(super) fn column_count(&self) -> usize {
        // SAFETY: the descriptor lives as long as the handle.
        usize::try_from(unsafe { (*self.descriptor).natts }).unwrap_or(0)
    }

    /// Whether the row meets NOT NULL and CHECK. If not, SQL has to write it, and to raise the error.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    pub(super) unsafe fn is_valid(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as the caller promises; the expressions were prepared for this descriptor.
        unsafe {
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, self.column_count());
            let mut attributes = version::attributes(self.descriptor).iter().zip(nulls);
            let context = self.expression_context(slot);
            attributes.all(|(attribute, null)| !(attribute.attnotnull && *null))
                && self.checks.iter().all(|check| pg_sys::ExecCheck(*check, context))
        }
    }

    /// Whether the row belongs into this partition; true when the table is none.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    pub(super) unsafe fn is_within_bounds(
        &self,
        table: &OpenRelation,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        // SAFETY: as the caller promises; the server prepares the expression at the first call, in the memory
        // of the state, and reads the relation only then.
        unsafe {
            self.partition.is_null() || {
                (*self.partition).ri_RelationDesc = table.0;
                pg_sys::ExecPartitionCheck(self.partition, slot, self.state, false)
            }
        }
    }

    /// Fills the slot of this handle; whether the row meets all constraints but unique ones.
    ///
    /// # Safety
    /// As [`TableHandle::fill`].
    pub(super) unsafe fn accepts(&self, table: &OpenRelation, values: &[Option<pg_sys::Datum>]) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            // Rows that were refused leave the garbage of their checks there.
            pg_sys::MemoryContextReset(self.row_memory());
            self.fill(self.slot, values);
            self.is_valid(self.slot) && self.is_within_bounds(table, self.slot)
        }
    }

    /// The context of expressions, which read the row in the slot.
    ///
    /// # Safety
    /// The slot holds a row of the table.
    pub(super) unsafe fn expression_context(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> *mut pg_sys::ExprContext {
        // SAFETY: the state and its context live as long as the handle.
        unsafe {
            let context = (*self.state).es_per_tuple_exprcontext;
            (*context).ecxt_scantuple = slot;
            context
        }
    }

    /// Memory for what expressions and indexes allocate for a row.
    pub(super) fn row_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: as above.
        unsafe { (*(*self.state).es_per_tuple_exprcontext).ecxt_per_tuple_memory }
    }
}
