//! What a session keeps of a table so as to write into it: the parts of the server's executor that an insert needs.
#![expect(unsafe_code, reason = "the table access method, indexes and expressions are C interfaces")]

use std::ffi::{CStr, CString};

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

use crate::pg::catalog::relation;
use crate::pg::error::Result;

/// Lock that readers take, on the table and on its indexes.
pub(super) const READ: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// The same of writers.
pub(super) const WRITE: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

/// See the module. Everything pointed to lives in `context`, which is this value's own.
pub(super) struct TableHandle {
    pub(super) table: pg_sys::Oid,
    context: pg_sys::MemoryContext,
    pub(super) state: *mut pg_sys::EState,
    pub(super) shape: pg_sys::TupleDesc,
    /// For one row at a time.
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    /// Where in the row the caller's values are.
    pub(super) column_numbers: Vec<usize>,
    pub(super) checks: Vec<*mut pg_sys::ExprState>,
    pub(super) indexes: Vec<Index>,
    /// For the bounds of a partition; null when it is none.
    pub(super) partition: *mut pg_sys::ResultRelInfo,
    parent: Option<pg_sys::Oid>,
    has_all_columns: bool,
    can_insert: bool,
    can_delete: bool,
    can_update: bool,
}

/// One index, described as the executor would have it.
pub(super) struct Index {
    pub(super) oid: pg_sys::Oid,
    pub(super) name: CString,
    pub(super) info: *mut pg_sys::IndexInfo,
    /// Place of its first column in the row, if that is a uuid.
    pub(super) uuid: Option<usize>,
    /// It is a B-tree.
    pub(super) is_tree: bool,
}

impl Drop for TableHandle {
    fn drop(&mut self) {
        // SAFETY: the context is ours alone, and nothing in it is used after this.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

/// An open relation; closed in `Drop`, the lock stays until the transaction ends. After an error the abort closes it.
pub(super) struct OpenRelation(pub(super) pg_sys::Relation);

impl OpenRelation {
    pub(super) fn table(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // SAFETY: opens by identifier or raises an error.
        Self(unsafe { pg_sys::table_open(oid, lock) })
    }

    pub(super) fn index(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // SAFETY: as above.
        Self(unsafe { pg_sys::index_open(oid, lock) })
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: open until here.
            unsafe { pg_sys::relation_close(self.0, KEEP) };
        }
    }
}

impl TableHandle {
    /// Looks at everything that an insert into the table would have to do.
    pub(super) fn new(
        table: pg_sys::Oid,
        parent: Option<pg_sys::Oid>,
        columns: &[&CStr],
        on_delete: Option<&CStr>,
    ) -> Self {
        let open = OpenRelation::table(table, WRITE);
        let is_part = parent.is_none_or(|parent| is_part(table, parent));
        // SAFETY: the relation is open; what is copied from it goes into a context of its own, which the server frees
        // with the statement if an error leaves this function before the context is handed to the session.
        unsafe {
            let relation = &*open.0;
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"pg_nebula table".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            );
            let handle = PgMemoryContexts::For(context).switch_to(|_| {
                let shape = pg_sys::CreateTupleDescCopyConstr(relation.rd_att);
                let state = pg_sys::CreateExecutorState();
                pg_sys::MakePerTupleExprContext(state);
                let indexes = indexes(open.0, state);
                let column_numbers = column_numbers(shape, columns);
                let can_be_written = is_table(relation)
                    && is_part
                    && indexes.is_some()
                    && column_numbers.is_some()
                    && !is_generated(shape);
                Self {
                    table,
                    context,
                    state,
                    shape,
                    slot: pg_sys::MakeTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual),
                    partition: bounds(relation),
                    parent,
                    has_all_columns: column_numbers.is_some(),
                    can_insert: can_be_written && is_plain(relation) && !needs_defaults(shape, columns),
                    can_delete: is_table(relation)
                        && column_numbers.is_some()
                        && runs_no_trigger(relation, pg_sys::TRIGGER_TYPE_DELETE, on_delete),
                    // Of a partition the row might have to leave it, and other indexes are told of changes in other ways.
                    can_update: can_be_written
                        && indexes.as_ref().is_some_and(|all| all.iter().all(|index| index.is_tree))
                        && !relation_is_partition(relation)
                        && runs_no_trigger(relation, pg_sys::TRIGGER_TYPE_UPDATE, None),
                    column_numbers: column_numbers.unwrap_or_default(),
                    checks: checks(shape, state),
                    indexes: indexes.unwrap_or_default(),
                }
            });
            pg_sys::MemoryContextSetParent(context, pg_sys::CacheMemoryContext);
            handle
        }
    }

    /// Whether a change of this table concerns it.
    pub(super) fn depends_on(&self, table: pg_sys::Oid) -> bool {
        self.table == table || self.parent == Some(table)
    }

    /// Identifier of an index by its name.
    pub(super) fn index(&self, name: &CStr) -> Result<pg_sys::Oid> {
        let known = self.indexes.iter().find(|index| index.name.as_c_str() == name);
        known.map_or_else(|| relation(name), |index| Ok(index.oid))
    }

    /// Whether it has all columns that it is said to have.
    pub(super) fn has_all_columns(&self) -> bool {
        self.has_all_columns
    }

    /// Whether nothing but this row has to be written.
    pub(super) fn can_insert(&self) -> bool {
        self.can_insert
    }

    /// Whether nothing but the table's own trigger has to hear of a row that is deleted.
    pub(super) fn can_delete(&self) -> bool {
        self.can_delete
    }

    /// Whether nothing but the row itself and its indexes has to hear of a row that is changed.
    pub(super) fn can_update(&self) -> bool {
        self.can_update
    }
}

/// What a statement says where nothing may be written.
pub(super) fn refuse_if_read_only(statement: &CStr) {
    // SAFETY: raise an error or do nothing.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(statement.as_ptr());
        pg_sys::PreventCommandIfParallelMode(statement.as_ptr());
    }
}

/// Whether an insert runs nothing besides constraints and indexes.
fn is_plain(relation: &pg_sys::RelationData) -> bool {
    // SAFETY: an open relation points to its catalog row, and to its triggers if there are any.
    let (class, triggers) = unsafe { (&*relation.rd_rel, relation.trigdesc.as_ref()) };
    let triggered = triggers.is_some_and(|t| {
        t.trig_insert_before_row
            || t.trig_insert_after_row
            || t.trig_insert_instead_row
            || t.trig_insert_before_statement
            || t.trig_insert_after_statement
            || t.trig_insert_new_table
    });
    // The tables belong to whom the functions belong to, whom row security does not bind unless it is forced.
    let secured = class.relrowsecurity && class.relforcerowsecurity;
    !class.relhasrules && !triggered && !secured
}

/// Whether rows lie in it, not in its partitions or elsewhere.
fn is_table(relation: &pg_sys::RelationData) -> bool {
    // SAFETY: an open relation points to its catalog row.
    unsafe { (*relation.rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION }
}

/// Whether a table is a partition of another, for which an insert runs nothing either.
fn is_part(table: pg_sys::Oid, parent: pg_sys::Oid) -> bool {
    let parent = OpenRelation::table(parent, READ);
    // SAFETY: the relation is open; the description of a partitioned table has as many identifiers as it says.
    unsafe {
        let is_partitioned = (*(*parent.0).rd_rel).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
        is_partitioned && is_plain(&*parent.0) && {
            let parts = &*pg_sys::RelationGetPartitionDesc(parent.0, true);
            (0..usize::try_from(parts.nparts).unwrap_or(0)).any(|part| *parts.oids.add(part) == table)
        }
    }
}

/// What the server's check of a partition's bounds wants to be given; null for what is no partition.
fn bounds(relation: &pg_sys::RelationData) -> *mut pg_sys::ResultRelInfo {
    // SAFETY: an open relation points to its catalog row; zeroed, the structure says that nothing is known yet.
    unsafe {
        if !relation_is_partition(relation) {
            return std::ptr::null_mut();
        }
        let info = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        info
    }
}

/// Whether it is a partition.
pub(super) fn relation_is_partition(relation: &pg_sys::RelationData) -> bool {
    // SAFETY: an open relation points to its catalog row.
    unsafe { (*relation.rd_rel).relispartition }
}

/// Whether a kind of statement runs nothing besides the trigger of this name, if any, whose work the caller does.
fn runs_no_trigger(relation: &pg_sys::RelationData, statement: u32, own: Option<&CStr>) -> bool {
    // SAFETY: as above; the triggers are valid for their number, and have names.
    unsafe {
        let class = &*relation.rd_rel;
        let triggers = relation.trigdesc.as_ref().map_or(&[][..], |t| {
            std::slice::from_raw_parts(t.triggers, usize::try_from(t.numtriggers).unwrap_or(0))
        });
        let of_statement = |t: &&pg_sys::Trigger| u32::from(t.tgtype.cast_unsigned()) & statement != 0;
        let secured = class.relrowsecurity && class.relforcerowsecurity;
        !class.relhasrules
            && !secured
            && triggers.iter().filter(of_statement).all(|t| Some(CStr::from_ptr(t.tgname)) == own)
    }
}

/// Columns that are there, with their index in a row.
///
/// # Safety
/// The shape is valid as long as what is answered.
unsafe fn columns_of(
    shape: pg_sys::TupleDesc,
) -> impl Iterator<Item = (usize, &'static CStr, &'static pg_sys::FormData_pg_attribute)> {
    // SAFETY: as promised; names are null-terminated.
    unsafe {
        let attributes = (*shape).attrs.as_slice(usize::try_from((*shape).natts).unwrap_or(0));
        let live = attributes.iter().enumerate().filter(|(_, attribute)| !attribute.attisdropped);
        live.map(|(place, attribute)| (place, CStr::from_ptr(attribute.attname.data.as_ptr()), attribute))
    }
}

/// Where the columns are in a row; `None` when one is missing.
///
/// # Safety
/// The shape is valid.
unsafe fn column_numbers(shape: pg_sys::TupleDesc, columns: &[&CStr]) -> Option<Vec<usize>> {
    // SAFETY: as promised.
    let place = |column: &&CStr| unsafe { columns_of(shape) }.find(|(_, name, _)| name == column);
    columns.iter().map(|column| place(column).map(|(place, ..)| place)).collect()
}

/// Whether a column that is not given has a value all the same.
///
/// # Safety
/// The shape is valid.
unsafe fn needs_defaults(shape: pg_sys::TupleDesc, columns: &[&CStr]) -> bool {
    // SAFETY: as promised.
    unsafe { columns_of(shape) }.any(|(_, name, attribute)| {
        !columns.contains(&name) && (attribute.atthasdef || attribute.attidentity != 0)
    })
}

/// Whether a column is computed from others.
///
/// # Safety
/// The shape is valid.
unsafe fn is_generated(shape: pg_sys::TupleDesc) -> bool {
    // SAFETY: as promised.
    unsafe { columns_of(shape) }.any(|(_, _, attribute)| attribute.attgenerated != 0)
}

/// The CHECK constraints.
///
/// # Safety
/// Called in the memory that the state lives in.
unsafe fn checks(shape: pg_sys::TupleDesc, state: *mut pg_sys::EState) -> Vec<*mut pg_sys::ExprState> {
    // SAFETY: a description copied with its constraints; their text is what the server wrote.
    unsafe {
        let Some(constraints) = (*shape).constr.as_ref() else { return Vec::new() };
        if constraints.num_check == 0 {
            return Vec::new();
        }
        let checks = std::slice::from_raw_parts(constraints.check, usize::from(constraints.num_check));
        let prepare = |text| pg_sys::ExecPrepareExpr(pg_sys::stringToNode(text).cast(), state);
        checks.iter().map(|check| prepare(check.ccbin)).collect()
    }
}

/// The indexes; `None` when one has a constraint that is checked in another way.
///
/// # Safety
/// Called in the memory that the state lives in, with an open table.
unsafe fn indexes(table: pg_sys::Relation, state: *mut pg_sys::EState) -> Option<Vec<Index>> {
    // SAFETY: as promised; lists of identifiers are valid for their length.
    unsafe {
        let list = pg_sys::RelationGetIndexList(table);
        let count = if list.is_null() { 0 } else { (*list).length };
        (0..count)
            .map(|at| {
                let oid = pg_sys::list_nth_oid(list, at);
                let open = OpenRelation::index(oid, WRITE);
                let index = &*(*open.0).rd_index;
                let info = pg_sys::BuildIndexInfo(open.0);
                if !(*info).ii_Predicate.is_null() {
                    (*info).ii_PredicateState = pg_sys::ExecPrepareQual((*info).ii_Predicate, state);
                }
                let usual = index.indimmediate && !index.indisexclusion && (*info).ii_ReadyForInserts;
                let class = &*(*open.0).rd_rel;
                let name = CStr::from_ptr(class.relname.data.as_ptr()).to_owned();
                let is_tree = class.relam == pg_sys::BTREE_AM_OID;
                usual.then_some(Index { oid, name, info, uuid: uuid_column(table, info), is_tree })
            })
            .collect()
    }
}

/// Place of an index's first column in the row, if that is a uuid.
///
/// # Safety
/// The table is open, and the description is of one of its indexes.
unsafe fn uuid_column(table: pg_sys::Relation, info: *const pg_sys::IndexInfo) -> Option<usize> {
    // SAFETY: as promised; 0 stands for an expression.
    unsafe {
        let place = usize::try_from((*info).ii_IndexAttrNumbers[0]).ok()?.checked_sub(1)?;
        let shape = &*(*table).rd_att;
        let attribute = shape.attrs.as_slice(usize::try_from(shape.natts).ok()?).get(place)?;
        (attribute.atttypid == pg_sys::UUIDOID).then_some(place)
    }
}
