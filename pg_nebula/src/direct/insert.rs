//! Inserting rows.
#![expect(unsafe_code, reason = "the table access method, indexes and expressions are C interfaces")]

use std::panic::AssertUnwindSafe;
use std::ptr::null_mut;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys::IndexUniqueCheck::{UNIQUE_CHECK_NO, UNIQUE_CHECK_PARTIAL, UNIQUE_CHECK_YES};
use pgrx::prelude::*;

use super::InsertOutcome;
use super::handle::{Index, OpenRelation, TableHandle, WRITE, refuse_if_read_only};

/// Most columns an index can have, fixed when the server was built.
const KEYS: usize = pg_sys::INDEX_MAX_KEYS as usize;
/// Rows written at once: the more, the more of them meet in the same page of an index.
const CHUNK: usize = 1 << 14;

impl Index {
    /// Rows in the order of this index, as far as that is cheap to tell: random identifiers touch each page once then.
    ///
    /// # Safety
    /// The slots are filled, and have the shape that this index was described for.
    unsafe fn sorted(&self, slots: &[*mut pg_sys::TupleTableSlot]) -> Vec<*mut pg_sys::TupleTableSlot> {
        let mut sorted = slots.to_vec();
        if let Some(place) = self.uuid {
            // SAFETY: as promised; an identifier that is null sorts first.
            sorted.sort_by_key(|slot| unsafe {
                let null = *(**slot).tts_isnull.add(place);
                (!null).then(|| *(*(**slot).tts_values.add(place)).cast_mut_ptr::<[u8; 16]>())
            });
        }
        sorted
    }
}

impl TableHandle {
    /// Writes one row, or none when one of the same key is there or may be; waits for nobody.
    pub(super) fn try_insert(&self, open: &OpenRelation, values: &[Option<pg_sys::Datum>]) -> InsertOutcome {
        // SAFETY: inside a transaction; the slot has the shape of the table, which cannot change while it is locked, and
        // the values the types of its columns. Speculative: until the end the row is nobody's to wait for, and one that is
        // withdrawn is nobody's to see, not even a subscriber's, who would stumble over its key.
        unsafe {
            refuse_if_read_only(c"INSERT");
            self.fill(self.slot, values);
            if !self.is_valid(self.slot) {
                return InsertOutcome::UseSql;
            }
            let transaction = pg_sys::GetCurrentTransactionId();
            let token = pg_sys::SpeculativeInsertionLockAcquire(transaction);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_tuple_insert_speculative(open.0, self.slot, command, 0, null_mut(), token);
            let taken = self
                .indexes
                .iter()
                .find(|index| !self.enter(open, index, &[self.slot], UNIQUE_CHECK_PARTIAL));
            pg_sys::table_tuple_complete_speculative(open.0, self.slot, token, taken.is_none());
            pg_sys::SpeculativeInsertionLockRelease(transaction);
            pg_sys::MemoryContextReset(self.row_memory());
            pg_sys::CommandCounterIncrement();
            taken.map_or(InsertOutcome::Inserted, |index| InsertOutcome::Conflict(index.oid))
        }
    }

    /// Writes one row, unless SQL has to say what is wrong with it.
    ///
    /// # Safety
    /// What the values point to stays there.
    pub(super) unsafe fn insert(&self, values: &[Option<pg_sys::Datum>]) -> bool {
        refuse_if_read_only(c"INSERT");
        let open = OpenRelation::table(self.table, WRITE);
        let accepted = self.accepts(&open, values);
        if accepted {
            // SAFETY: it was just put into the slot.
            unsafe {
                self.write(&open);
                pg_sys::CommandCounterIncrement();
            }
        }
        accepted
    }

    /// Puts a row into the slot; whether it meets all constraints but those of indexes.
    pub(super) fn accepts(&self, open: &OpenRelation, values: &[Option<pg_sys::Datum>]) -> bool {
        // SAFETY: as in `insert`.
        unsafe {
            // What the constraints of a row left there that was not written after all.
            pg_sys::MemoryContextReset(self.row_memory());
            self.fill(self.slot, values);
            self.is_valid(self.slot) && self.is_within_bounds(open, self.slot)
        }
    }

    /// Writes the row in the slot as INSERT does: waits for rows of the same key that are in flight, and fails when there
    /// is one.
    ///
    /// # Safety
    /// [`TableHandle::accepts`] has put it there, and what its values point to is still there.
    pub(super) unsafe fn write(&self, open: &OpenRelation) {
        // SAFETY: as in `insert`, and as promised.
        unsafe {
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_tuple_insert(open.0, self.slot, command, 0, null_mut());
            for index in &self.indexes {
                self.enter(open, index, &[self.slot], UNIQUE_CHECK_YES);
            }
            pg_sys::MemoryContextReset(self.row_memory());
        }
    }

    pub(super) fn try_insert_all(
        &self,
        count: usize,
        mut rows: impl FnMut(usize, &mut [Option<pg_sys::Datum>]),
    ) -> InsertOutcome {
        refuse_if_read_only(c"INSERT");
        let open = OpenRelation::table(self.table, WRITE);
        let mut values = vec![None; self.column_numbers.len()];
        // SAFETY: as in `insert`. Not speculative, but in a subtransaction: what was written before a row turns out to be
        // taken is rolled back. The slots live in memory of their own for as long as they are used.
        in_subtransaction(|| unsafe {
            let mut context = PgMemoryContexts::new("pg_nebula rows");
            context.switch_to(|_| {
                let slots: Vec<_> = (0..count.min(CHUNK))
                    .map(|_| pg_sys::MakeTupleTableSlot(self.shape, &raw const pg_sys::TTSOpsVirtual))
                    .collect();
                let bulk = pg_sys::GetBulkInsertState();
                let command = pg_sys::GetCurrentCommandId(true);
                let mut written = InsertOutcome::Inserted;
                let mut first = 0;
                while first < count && written == InsertOutcome::Inserted {
                    let slots = &slots[..CHUNK.min(count - first)];
                    for (row, slot) in slots.iter().enumerate() {
                        rows(first + row, &mut values);
                        self.fill(*slot, &values);
                        if !self.is_valid(*slot) {
                            written = InsertOutcome::UseSql;
                        }
                    }
                    if written == InsertOutcome::Inserted {
                        written = self.insert_slots(&open, slots, command, bulk);
                    }
                    first += slots.len();
                }
                pg_sys::FreeBulkInsertState(bulk);
                pg_sys::MemoryContextReset(self.row_memory());
                pg_sys::CommandCounterIncrement();
                written
            })
        })
    }

    /// # Safety
    /// The slots are filled, and have the shape of the table.
    unsafe fn insert_slots(
        &self,
        open: &OpenRelation,
        slots: &[*mut pg_sys::TupleTableSlot],
        command: pg_sys::CommandId,
        bulk: pg_sys::BulkInsertState,
    ) -> InsertOutcome {
        // SAFETY: as promised; the function does not change the array.
        unsafe {
            let count = i32::try_from(slots.len()).unwrap_or(i32::MAX);
            pg_sys::table_multi_insert(open.0, slots.as_ptr().cast_mut(), count, command, 0, bulk);
            let taken = self
                .indexes
                .iter()
                .find(|index| !self.enter(open, index, &index.sorted(slots), UNIQUE_CHECK_PARTIAL));
            taken.map_or(InsertOutcome::Inserted, |index| InsertOutcome::Conflict(index.oid))
        }
    }

    /// # Safety
    /// The slot has the shape of the table, and the values the types of the columns.
    pub(super) unsafe fn fill(&self, slot: *mut pg_sys::TupleTableSlot, values: &[Option<pg_sys::Datum>]) {
        // SAFETY: the column numbers were looked up in this shape; each slot has as many values as it has columns.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            let columns = usize::try_from((*self.shape).natts).unwrap_or(0);
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, columns);
            let filled = std::slice::from_raw_parts_mut((*slot).tts_values, columns);
            nulls.fill(true);
            for (place, value) in self.column_numbers.iter().zip(values) {
                if let Some(value) = value {
                    filled[*place] = *value;
                    nulls[*place] = false;
                }
            }
            (*slot).tts_tableOid = self.table;
            pg_sys::ExecStoreVirtualTuple(slot);
        }
    }

    /// Whether the row meets NOT NULL and CHECK; if not, SQL says so better.
    ///
    /// # Safety
    /// The slot is filled.
    pub(super) unsafe fn is_valid(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as promised; the expressions were prepared for this shape.
        unsafe {
            let columns = usize::try_from((*self.shape).natts).unwrap_or(0);
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, columns);
            let mut attributes = (*self.shape).attrs.as_slice(columns).iter().zip(nulls);
            let row = self.row(slot);
            attributes.all(|(attribute, null)| !(attribute.attnotnull && *null))
                && self.checks.iter().all(|check| pg_sys::ExecCheck(*check, row))
        }
    }

    /// Whether the row belongs into this partition, if this is one.
    ///
    /// # Safety
    /// The slot is filled.
    unsafe fn is_within_bounds(&self, open: &OpenRelation, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as promised; the expression is made once, in the memory of the state, and the relation is looked at only
        // then.
        unsafe {
            self.partition.is_null() || {
                (*self.partition).ri_RelationDesc = open.0;
                pg_sys::ExecPartitionCheck(self.partition, slot, self.state, false)
            }
        }
    }

    /// The context that expressions read the row from.
    ///
    /// # Safety
    /// The slot is filled.
    unsafe fn row(&self, slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::ExprContext {
        // SAFETY: made with the state.
        unsafe {
            let row = (*self.state).es_per_tuple_exprcontext;
            (*row).ecxt_scantuple = slot;
            row
        }
    }

    /// Memory of what expressions and indexes need for a row.
    pub(super) fn row_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: made with the state.
        unsafe { (*(*self.state).es_per_tuple_exprcontext).ecxt_per_tuple_memory }
    }

    /// Enters rows into an index; `false` when one is taken. A check that is PARTIAL, as of speculative insertion, enters
    /// a row whatever it finds, and says so.
    ///
    /// # Safety
    /// The slots are filled and written.
    pub(super) unsafe fn enter(
        &self,
        open: &OpenRelation,
        index: &Index,
        slots: &[*mut pg_sys::TupleTableSlot],
        check: pg_sys::IndexUniqueCheck::Type,
    ) -> bool {
        // SAFETY: as promised.
        unsafe { self.enter_version(open, index, slots, check, false) }
    }

    /// The same; `unchanged`: for this index they are what the rows they replace were, so it may look for entries that
    /// nobody needs any more.
    ///
    /// # Safety
    /// As [`TableHandle::enter`].
    pub(super) unsafe fn enter_version(
        &self,
        open: &OpenRelation,
        index: &Index,
        slots: &[*mut pg_sys::TupleTableSlot],
        check: pg_sys::IndexUniqueCheck::Type,
        unchanged: bool,
    ) -> bool {
        let mut relation = None;
        let mut values = [pg_sys::Datum::null(); KEYS];
        let mut nulls = [false; KEYS];
        // SAFETY: the description was made from this index, and is void as soon as the index changes.
        unsafe {
            let info = &mut *index.info;
            slots.iter().all(|slot| {
                let row = self.row(*slot);
                if !info.ii_Predicate.is_null() && !pg_sys::ExecQual(info.ii_PredicateState, row) {
                    return true;
                }
                let relation = relation.get_or_insert_with(|| OpenRelation::index(index.oid, WRITE));
                pg_sys::FormIndexDatum(info, *slot, self.state, values.as_mut_ptr(), nulls.as_mut_ptr());
                // What an access method keeps there points to the open relation.
                info.ii_AmCache = null_mut();
                info.ii_Context = self.row_memory();
                let unique = if info.ii_Unique { check } else { UNIQUE_CHECK_NO };
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                let tid = &raw mut (**slot).tts_tid;
                let sole =
                    pg_sys::index_insert(relation.0, values, nulls, tid, open.0, unique, unchanged, info);
                sole || !info.ii_Unique
            })
        }
    }
}

/// Does something that may have to be undone: rolled back unless it comes to [`InsertOutcome::Inserted`], and on errors.
fn in_subtransaction(work: impl FnOnce() -> InsertOutcome) -> InsertOutcome {
    // SAFETY: begins and ends a subtransaction inside a transaction, with the memory and resources of before.
    unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        let restore = move || {
            pg_sys::CurrentMemoryContext = memory;
            pg_sys::CurrentResourceOwner = owner;
        };
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let written = PgTryBuilder::new(AssertUnwindSafe(work))
            .catch_others(|error| {
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
                restore();
                error.rethrow()
            })
            .execute();
        if written == InsertOutcome::Inserted {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        restore();
        written
    }
}
