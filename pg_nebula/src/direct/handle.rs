//! State of the executor that a session keeps for a table: the parts that are the same for every statement.
#![expect(unsafe_code, reason = "the state of the executor is made of C structures")]

use std::cell::Cell;
use std::ptr::null_mut;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

use super::changed::Changed;
use super::eligibility::{
    Statement, has_descendants, is_partition, is_plain_partition, is_table, runs_nothing_else,
};
use super::index::{self, Index};
use super::index_scan::IndexScan;
use super::relation::{OpenRelation, WRITE, lock_relation};
use super::{Table, columns, version};
use crate::pg::error::{Error, Result};

/// Valid until the table, one of its indexes or its parent changes. All that is pointed to lives in
/// `context`, which belongs to this value.
pub(super) struct TableHandle {
    pub(super) table: pg_sys::Oid,
    context: pg_sys::MemoryContext,
    pub(super) state: *mut pg_sys::EState,
    pub(super) descriptor: pg_sys::TupleDesc,
    /// For one row at a time.
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    /// Index in the row of each column in the table's list.
    pub(super) column_numbers: Vec<usize>,
    pub(super) checks: Vec<*mut pg_sys::ExprState>,
    pub(super) indexes: Vec<Index>,
    /// Buffers that were read so far to add entries to the indexes.
    pub(super) entry_buffers: Cell<i64>,
    /// Argument of the check of a partition's bounds; null when the table is no partition.
    pub(super) partition: *mut pg_sys::ResultRelInfo,
    parent: Option<pg_sys::Oid>,
    has_all_columns: bool,
    is_whole: bool,
    can_insert: bool,
    can_update: bool,
    can_delete: bool,
}

impl Drop for TableHandle {
    fn drop(&mut self) {
        // SAFETY: the context belongs to this value, and nothing in it is used after this.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

impl TableHandle {
    /// Reads the description of the table that `known` names.
    pub(super) fn new(table: pg_sys::Oid, parent: Option<pg_sys::Oid>, known: &Table) -> Self {
        let Table { columns, own_delete_trigger, held_keys, changed, .. } = *known;
        let relation = OpenRelation::table(table, WRITE);
        let has_plain_parent = match parent {
            Some(parent) => is_plain_partition(table, parent),
            // A partition of a table that we do not know may have triggers and bounds from there.
            None => !is_partition(&relation),
        };
        // SAFETY: the relation is open. If an error leaves this function, the server frees the context with
        // its parent, the memory of the statement; only a complete handle becomes the session's.
        unsafe {
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"pg_nebula table".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            );
            let handle = PgMemoryContexts::For(context).switch_to(|_| {
                let descriptor = pg_sys::CreateTupleDescCopyConstr((*relation.0).rd_att);
                let state = pg_sys::CreateExecutorState();
                pg_sys::MakePerTupleExprContext(state);
                let indexes = index::describe_all(&relation, state);
                let numbers = columns::numbers(descriptor, columns);
                let can_write = is_table(&relation) && has_plain_parent && numbers.is_some();
                let changed = Changed::new(descriptor, changed);
                let is_whole = is_table(&relation) && !has_descendants(&relation);
                Self {
                    table,
                    context,
                    state,
                    descriptor,
                    slot: pg_sys::MakeTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsVirtual),
                    checks: checks(descriptor, state),
                    partition: partition_argument(&relation),
                    parent,
                    has_all_columns: numbers.is_some(),
                    is_whole,
                    can_insert: can_write
                        && indexes.iter().all(|index| index.is_immediate)
                        && !columns::are_generated(descriptor, &[])
                        && !columns::need_defaults(descriptor, columns)
                        && runs_nothing_else(&relation, Statement::Insert, None, held_keys),
                    // A changed row might have to move to another partition. Access methods other than B-tree
                    // are told of updates in ways of their own.
                    can_update: can_write
                        && is_whole
                        && !is_partition(&relation)
                        && indexes.iter().all(|index| {
                            index.is_immediate && !index.key_types.is_empty() || changed.leaves_index(index)
                        })
                        && changed.fills_generated(descriptor)
                        && changed.runs_nothing_else(&relation),
                    can_delete: is_whole
                        && numbers.is_some()
                        && runs_nothing_else(&relation, Statement::Delete, own_delete_trigger, &[]),
                    column_numbers: numbers.unwrap_or_default(),
                    indexes,
                    entry_buffers: Cell::new(0),
                }
            });
            pg_sys::MemoryContextSetParent(context, pg_sys::CacheMemoryContext);
            handle
        }
    }

    /// Locks the table, and the partitioned table above it, as a statement does.
    pub(super) fn lock(&self, lock: pg_sys::LOCKMODE) {
        self.parent.into_iter().chain([self.table]).for_each(|table| lock_relation(table, lock));
    }

    /// Opens the table, which [`TableHandle::lock`] has locked: to take a lock that is held already costs as
    /// much as to open the table.
    pub(super) fn open(&self) -> OpenRelation {
        OpenRelation::locked_table(self.table)
    }

    /// Whether a change of this table makes the handle invalid.
    pub(super) fn depends_on(&self, table: pg_sys::Oid) -> bool {
        self.table == table || self.parent == Some(table)
    }

    /// The index that a scan names. It was found in the table's own list of indexes, so it belongs to the
    /// table.
    ///
    /// # Errors
    /// When the table has no B-tree of that name whose columns have the types of the scan's keys.
    pub(super) fn index_of(&self, scan: &IndexScan<'_>) -> Result<&Index> {
        let named = self.indexes.iter().find(|index| index.name.as_c_str() == scan.index);
        named
            .filter(|index| scan.fits(&index.key_types))
            .ok_or_else(|| Error::corrupt_schema("index of a table of the extension"))
    }

    /// # Errors
    /// When the table lacks a column of the list.
    pub(super) fn require_columns(&self) -> Result<()> {
        if self.has_all_columns {
            Ok(())
        } else {
            Err(Error::corrupt_schema("column of a table of the extension"))
        }
    }

    /// Whether SELECT reads this table alone, and not others that inherit from it.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether INSERT does no more than write the row and its index entries, and check it.
    pub(super) fn can_insert(&self) -> bool {
        self.can_insert
    }

    /// Whether UPDATE does no more than that.
    pub(super) fn can_update(&self) -> bool {
        self.can_update
    }

    /// Whether DELETE does no more than delete the row and run the table's own trigger.
    pub(super) fn can_delete(&self) -> bool {
        self.can_delete
    }
}

/// The CHECK constraints, ready to run.
///
/// # Safety
/// The descriptor was copied with its constraints. Called in the memory context that the state lives in.
unsafe fn checks(descriptor: pg_sys::TupleDesc, state: *mut pg_sys::EState) -> Vec<*mut pg_sys::ExprState> {
    // SAFETY: as the caller promises; the text of a constraint is what the server wrote into its catalog.
    unsafe {
        let Some(constraints) = (*descriptor).constr.as_ref().filter(|all| all.num_check > 0) else {
            return Vec::new();
        };
        std::slice::from_raw_parts(constraints.check, usize::from(constraints.num_check))
            .iter()
            .filter(|check| version::is_enforced(check))
            .map(|check| pg_sys::ExecPrepareExpr(pg_sys::stringToNode(check.ccbin).cast(), state))
            .collect()
    }
}

/// Argument of `ExecPartitionCheck`; null when the table is no partition.
fn partition_argument(table: &OpenRelation) -> *mut pg_sys::ResultRelInfo {
    if !is_partition(table) {
        return null_mut();
    }
    // SAFETY: zeroed but for its type is how the executor makes this structure; the check fills in what it
    // needs.
    unsafe {
        let info = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        info
    }
}
