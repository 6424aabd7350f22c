//! Indexes of a table: their descriptions, and adding entries to them.
#![expect(unsafe_code, reason = "the index access method is a C interface")]

use std::ffi::{CStr, CString};
use std::ptr::null_mut;

use pgrx::prelude::*;

use super::relation::{OpenRelation, READ, WRITE};
use super::version;

/// An index as the executor describes it. Lives in the memory of its
/// [`TableHandle`](super::handle::TableHandle).
pub(super) struct Index {
    pub(super) oid: pg_sys::Oid,
    pub(super) name: CString,
    pub(super) info: *mut pg_sys::IndexInfo,
    /// Types that its operator classes compare; empty unless it is a B-tree.
    pub(super) key_types: Vec<pg_sys::Oid>,
    /// Whether a new entry is checked at once, and by equality only.
    pub(super) is_immediate: bool,
    /// Index in the row of its first column, if that is a uuid.
    first_uuid: Option<usize>,
}

/// All indexes of a table.
///
/// # Safety
/// The table is open. Called in the memory context that the state lives in.
pub(super) unsafe fn describe_all(table: &OpenRelation, state: *mut pg_sys::EState) -> Vec<Index> {
    // SAFETY: as the caller promises; a list of identifiers is valid for its length.
    unsafe {
        let list = pg_sys::RelationGetIndexList(table.0);
        let count = if list.is_null() { 0 } else { (*list).length };
        (0..count).map(|at| describe(table, pg_sys::list_nth_oid(list, at), state)).collect()
    }
}

/// # Safety
/// As [`describe_all`], and the index belongs to the table.
unsafe fn describe(table: &OpenRelation, oid: pg_sys::Oid, state: *mut pg_sys::EState) -> Index {
    let index = OpenRelation::index(oid, WRITE);
    // SAFETY: as the caller promises; an open index points to its row of pg_index, and has an operator class
    // for each key.
    unsafe {
        let row = &*(*index.0).rd_index;
        debug_assert_eq!(row.indrelid, (*table.0).rd_id);
        let info = pg_sys::BuildIndexInfo(index.0);
        if !(*info).ii_Predicate.is_null() {
            (*info).ii_PredicateState = pg_sys::ExecPrepareQual((*info).ii_Predicate, state);
        }
        let keys = usize::try_from(row.indnkeyatts).unwrap_or(0);
        let key_types = if index.class().relam == pg_sys::BTREE_AM_OID {
            std::slice::from_raw_parts((*index.0).rd_opcintype, keys).to_vec()
        } else {
            Vec::new()
        };
        // Column numbers start at 1; 0 stands for an expression.
        let first = usize::try_from((*info).ii_IndexAttrNumbers[0]).unwrap_or(0).checked_sub(1);
        let attributes = version::attributes((*table.0).rd_att);
        Index {
            oid,
            name: CStr::from_ptr(index.class().relname.data.as_ptr()).to_owned(),
            info,
            key_types,
            is_immediate: row.indimmediate && !row.indisexclusion && (*info).ii_ReadyForInserts,
            first_uuid: first.filter(|number| attributes[*number].atttypid == pg_sys::UUIDOID),
        }
    }
}

impl Index {
    /// Opens it for a scan.
    pub(super) fn open_for_reading(&self) -> OpenRelation {
        OpenRelation::index(self.oid, READ)
    }

    /// The rows in the order of this index if its first column is a uuid, otherwise as they are: random keys
    /// that are inserted in order visit each leaf page once.
    ///
    /// # Safety
    /// The slots hold rows of the table.
    pub(super) unsafe fn sorted(
        &self,
        slots: &[*mut pg_sys::TupleTableSlot],
    ) -> Vec<*mut pg_sys::TupleTableSlot> {
        let mut sorted = slots.to_vec();
        if let Some(number) = self.first_uuid {
            // SAFETY: as the caller promises; NULL sorts first here, where its place does not matter.
            sorted.sort_by_key(|slot| unsafe {
                let null = *(**slot).tts_isnull.add(number);
                (!null).then(|| *(*(**slot).tts_values.add(number)).cast_mut_ptr::<[u8; 16]>())
            });
        }
        sorted
    }
}

/// An index that is open for new entries.
pub(super) struct IndexWriter {
    index: OpenRelation,
    info: *mut pg_sys::IndexInfo,
}

impl IndexWriter {
    /// `memory` holds what the access method keeps from one entry to the next; it must not be reset before
    /// this is dropped.
    pub(super) fn open(index: &Index, memory: pg_sys::MemoryContext) -> Self {
        // SAFETY: the description lives as long as the handle, whose only user this session is. What an
        // earlier writer left in `ii_AmCache` when an error cut it short points to memory that is gone.
        unsafe {
            (*index.info).ii_AmCache = null_mut();
            (*index.info).ii_Context = memory;
        }
        Self { index: OpenRelation::index(index.oid, WRITE), info: index.info }
    }

    /// Adds the entry of the row in the slot. `false` only for a duplicate in a unique index under
    /// UNIQUE_CHECK_PARTIAL, which adds the entry all the same.
    ///
    /// # Safety
    /// The slot holds a row that is written to `table`, and meets the index's predicate. `state` is of the
    /// handle.
    pub(super) unsafe fn insert(
        &self,
        table: &OpenRelation,
        slot: *mut pg_sys::TupleTableSlot,
        state: *mut pg_sys::EState,
        check: pg_sys::IndexUniqueCheck::Type,
        is_unchanged: bool,
    ) -> bool {
        const MAX_KEYS: usize = pg_sys::INDEX_MAX_KEYS as usize;
        let (mut values, mut nulls) = ([pg_sys::Datum::null(); MAX_KEYS], [false; MAX_KEYS]);
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        // SAFETY: as the caller promises; no index has more than MAX_KEYS columns.
        unsafe {
            let info = self.info;
            pg_sys::FormIndexDatum(info, slot, state, values, nulls);
            let is_unique_index = (*info).ii_Unique;
            let check = if is_unique_index { check } else { pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO };
            let tid = &raw mut (*slot).tts_tid;
            let (index, table) = (self.index.0, table.0);
            pg_sys::index_insert(index, values, nulls, tid, table, check, is_unchanged, info)
                || !is_unique_index
        }
    }
}

impl Drop for IndexWriter {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the index is still open. After an error the abort of the transaction releases what was
            // kept.
            unsafe { version::end_index_inserts(self.index.0, self.info) };
        }
    }
}
