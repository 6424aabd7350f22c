//! INSERT without an executor.
#![expect(unsafe_code, reason = "the table access method is a C interface")]

use std::ptr::null_mut;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys::IndexUniqueCheck::{UNIQUE_CHECK_PARTIAL, UNIQUE_CHECK_YES};
use pgrx::prelude::*;

use super::InsertOutcome;
use super::handle::TableHandle;
use super::index::{Index, IndexWriter};
use super::relation::{OpenRelation, require_writable};
use crate::pg::session::buffers_read;
use crate::pg::subtransaction::commit_if;

/// Rows written at once. The more, the more of them meet in the same page of an index.
const CHUNK: usize = 1 << 14;

impl TableHandle {
    /// `INSERT … ON CONFLICT DO NOTHING` of one row, but a conflict with a transaction in progress is not
    /// waited for. The values have the types of the columns.
    pub(super) fn try_insert(&self, table: &OpenRelation, values: &[Option<pg_sys::Datum>]) -> InsertOutcome {
        require_writable(c"INSERT");
        // SAFETY: inside a transaction; the table is locked, so its descriptor does not change. The insertion
        // is speculative: others neither see the row nor wait for it until it is completed, and logical
        // decoding skips one that is withdrawn.
        unsafe {
            self.fill(self.slot, values);
            if !self.is_valid(self.slot) {
                return InsertOutcome::UseSql;
            }
            let transaction = pg_sys::GetCurrentTransactionId();
            let token = pg_sys::SpeculativeInsertionLockAcquire(transaction);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_tuple_insert_speculative(table.0, self.slot, command, 0, null_mut(), token);
            let conflict = self
                .indexes
                .iter()
                .find(|index| !self.insert_entries(table, index, &[self.slot], UNIQUE_CHECK_PARTIAL, false));
            pg_sys::table_tuple_complete_speculative(table.0, self.slot, token, conflict.is_none());
            pg_sys::SpeculativeInsertionLockRelease(transaction);
            pg_sys::MemoryContextReset(self.row_memory());
            pg_sys::CommandCounterIncrement();
            conflict.map_or(InsertOutcome::Inserted, |index| InsertOutcome::Conflict(index.oid))
        }
    }

    /// `INSERT` of one row, which raises an error on a conflict. `false`: it violates another constraint;
    /// nothing was done, and SQL has to raise the error. The values have the types of the columns.
    pub(super) fn insert(&self, values: &[Option<pg_sys::Datum>]) -> bool {
        require_writable(c"INSERT");
        let table = self.open();
        // SAFETY: the values outlive this call.
        unsafe {
            let accepted = self.accepts(&table, values);
            if accepted {
                self.insert_slot(&table);
                pg_sys::CommandCounterIncrement();
            }
            accepted
        }
    }

    /// Writes the row in the slot of this handle as INSERT does: waits for transactions in progress that
    /// wrote the same key, and raises an error on a conflict.
    ///
    /// # Safety
    /// [`TableHandle::accepts`] has filled the slot, and what its values point to is still valid.
    pub(super) unsafe fn insert_slot(&self, table: &OpenRelation) {
        // SAFETY: as the caller promises.
        unsafe {
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_tuple_insert(table.0, self.slot, command, 0, null_mut());
            for index in &self.indexes {
                self.insert_entries(table, index, &[self.slot], UNIQUE_CHECK_YES, false);
            }
            pg_sys::MemoryContextReset(self.row_memory());
        }
    }

    /// [`TableHandle::try_insert`] of many rows, all or none. `fill_row` gives the values of the row with
    /// this number.
    pub(super) fn try_insert_all(
        &self,
        count: usize,
        mut fill_row: impl FnMut(usize, &mut [Option<pg_sys::Datum>]),
    ) -> InsertOutcome {
        require_writable(c"INSERT");
        let table = self.open();
        let mut values = vec![None; self.column_numbers.len()];
        // SAFETY: the values and slots live in a memory context that outlives their use. The rows are not
        // speculative: on a conflict the subtransaction rolls back those that were written before.
        let insert = || unsafe {
            let mut context = PgMemoryContexts::new("pg_nebula rows");
            context.switch_to(|_| {
                let slots: Vec<_> = (0..count.min(CHUNK))
                    .map(|_| pg_sys::MakeTupleTableSlot(self.descriptor, &raw const pg_sys::TTSOpsVirtual))
                    .collect();
                let bulk = pg_sys::GetBulkInsertState();
                let mut outcome = InsertOutcome::Inserted;
                let mut first = 0;
                while first < count && outcome == InsertOutcome::Inserted {
                    let slots = &slots[..CHUNK.min(count - first)];
                    for (row, slot) in slots.iter().enumerate() {
                        fill_row(first + row, &mut values);
                        self.fill(*slot, &values);
                        if !self.is_valid(*slot) {
                            outcome = InsertOutcome::UseSql;
                        }
                    }
                    if outcome == InsertOutcome::Inserted {
                        outcome = self.insert_slots(&table, slots, bulk);
                    }
                    first += slots.len();
                }
                pg_sys::FreeBulkInsertState(bulk);
                pg_sys::MemoryContextReset(self.row_memory());
                pg_sys::CommandCounterIncrement();
                outcome
            })
        };
        commit_if(insert, |outcome| *outcome == InsertOutcome::Inserted)
    }

    /// # Safety
    /// The slots hold rows of the table.
    unsafe fn insert_slots(
        &self,
        table: &OpenRelation,
        slots: &[*mut pg_sys::TupleTableSlot],
        bulk: pg_sys::BulkInsertState,
    ) -> InsertOutcome {
        // SAFETY: as the caller promises; the function does not change the array.
        unsafe {
            let count = i32::try_from(slots.len()).unwrap_or(i32::MAX);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_multi_insert(table.0, slots.as_ptr().cast_mut(), count, command, 0, bulk);
            let conflict = self.indexes.iter().find(|index| {
                !self.insert_entries(table, index, &index.sorted(slots), UNIQUE_CHECK_PARTIAL, false)
            });
            conflict.map_or(InsertOutcome::Inserted, |index| InsertOutcome::Conflict(index.oid))
        }
    }

    /// Adds the entries of rows to an index, as far as they meet its predicate; `false` at the first that is
    /// not unique. With UNIQUE_CHECK_PARTIAL that entry was added all the same. `is_unchanged`: the rows are
    /// new versions of rows with the same key, so the index may remove entries of dead versions instead of
    /// splitting a page.
    ///
    /// # Safety
    /// The slots hold rows that are written to the table.
    pub(super) unsafe fn insert_entries(
        &self,
        table: &OpenRelation,
        index: &Index,
        slots: &[*mut pg_sys::TupleTableSlot],
        check: pg_sys::IndexUniqueCheck::Type,
        is_unchanged: bool,
    ) -> bool {
        let mut writer = None;
        slots.iter().all(|slot| {
            // SAFETY: as the caller promises; the predicate was prepared for the table's descriptor.
            unsafe {
                let context = self.expression_context(*slot);
                let info = &*index.info;
                if !info.ii_Predicate.is_null() && !pg_sys::ExecQual(info.ii_PredicateState, context) {
                    return true;
                }
                let writer = writer.get_or_insert_with(|| IndexWriter::open(index, self.row_memory()));
                // With the index open: what opening it reads of the catalog says nothing of the entries.
                let before = buffers_read();
                let accepted = writer.insert(table, *slot, self.state, check, is_unchanged);
                self.entry_buffers.set(self.entry_buffers.get() + buffers_read() - before);
                accepted
            }
        })
    }
}
