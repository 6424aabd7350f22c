//! What a session keeps of a table so as to write into it: the parts of the server's executor that an insert needs.
#![expect(unsafe_code, reason = "the table access method, indexes and expressions are C interfaces")]

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::ptr::null_mut;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

use super::Written;

/// Lock that writers take, on the table and on its indexes.
const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;
/// Most columns an index can have, fixed when the server was built.
const KEYS: usize = pg_sys::INDEX_MAX_KEYS as usize;
/// Rows written at once: the more, the more of them meet in the same page of an index.
const CHUNK: usize = 1 << 14;

/// See the module. Everything pointed to lives in `context`, which is this value's own.
pub(super) struct Prepared {
    table: pg_sys::Oid,
    context: pg_sys::MemoryContext,
    state: *mut pg_sys::EState,
    shape: pg_sys::TupleDesc,
    /// For one row at a time.
    slot: *mut pg_sys::TupleTableSlot,
    /// Where in the row the caller's values go.
    places: Vec<usize>,
    checks: Vec<*mut pg_sys::ExprState>,
    indexes: Vec<Index>,
    plain: bool,
}

struct Index {
    oid: pg_sys::Oid,
    info: *mut pg_sys::IndexInfo,
    /// Place of its first column in the row, if that is a uuid.
    uuid: Option<usize>,
}

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

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: the context is ours alone, and nothing in it is used after this.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

/// An open relation; closed in `Drop`, the lock stays until the transaction ends. After an error the abort closes it.
struct Open(pg_sys::Relation);

impl Open {
    fn table(oid: pg_sys::Oid) -> Self {
        // SAFETY: opens by identifier or raises an error.
        Self(unsafe { pg_sys::table_open(oid, LOCK) })
    }

    fn index(oid: pg_sys::Oid) -> Self {
        // SAFETY: as above.
        Self(unsafe { pg_sys::index_open(oid, LOCK) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: open until here.
            unsafe { pg_sys::relation_close(self.0, KEEP) };
        }
    }
}

impl Prepared {
    /// Looks at everything that an insert into the table would have to do.
    pub(super) fn new(table: pg_sys::Oid, columns: &[&CStr]) -> Self {
        let open = Open::table(table);
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
            let prepared = PgMemoryContexts::For(context).switch_to(|_| {
                let shape = pg_sys::CreateTupleDescCopyConstr(relation.rd_att);
                let state = pg_sys::CreateExecutorState();
                pg_sys::MakePerTupleExprContext(state);
                let indexes = indexes(open.0, state);
                let places = places(shape, columns);
                Self {
                    table,
                    context,
                    state,
                    shape,
                    slot: pg_sys::MakeTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual),
                    plain: is_plain(relation) && indexes.is_some() && places.is_some(),
                    places: places.unwrap_or_default(),
                    checks: checks(shape, state),
                    indexes: indexes.unwrap_or_default(),
                }
            });
            pg_sys::MemoryContextSetParent(context, pg_sys::CacheMemoryContext);
            prepared
        }
    }

    pub(super) fn table(&self) -> pg_sys::Oid {
        self.table
    }

    /// Whether nothing but this row has to be written.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    pub(super) fn insert(&self, values: &[Option<pg_sys::Datum>]) -> Written {
        // SAFETY: inside a transaction; the slot has the shape of the table, which cannot change while it is locked, and
        // the values the types of its columns. Speculative: until the end the row is nobody's to wait for.
        unsafe {
            refuse_if_read_only();
            let open = Open::table(self.table);
            self.fill(self.slot, values);
            if !self.is_valid(self.slot) {
                return Written::UseSql;
            }
            let transaction = pg_sys::GetCurrentTransactionId();
            let token = pg_sys::SpeculativeInsertionLockAcquire(transaction);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::table_tuple_insert_speculative(open.0, self.slot, command, 0, null_mut(), token);
            let unique = self.indexes.iter().all(|index| self.enter(&open, index, &[self.slot]));
            pg_sys::table_tuple_complete_speculative(open.0, self.slot, token, unique);
            pg_sys::SpeculativeInsertionLockRelease(transaction);
            pg_sys::MemoryContextReset(self.row_memory());
            pg_sys::CommandCounterIncrement();
            if unique { Written::Yes } else { Written::Taken }
        }
    }

    pub(super) fn insert_all(
        &self,
        count: usize,
        mut rows: impl FnMut(usize, &mut [Option<pg_sys::Datum>]),
    ) -> Written {
        refuse_if_read_only();
        let open = Open::table(self.table);
        let mut values = vec![None; self.places.len()];
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
                let mut written = Written::Yes;
                let mut first = 0;
                while first < count && written == Written::Yes {
                    let slots = &slots[..CHUNK.min(count - first)];
                    for (row, slot) in slots.iter().enumerate() {
                        rows(first + row, &mut values);
                        self.fill(*slot, &values);
                        if !self.is_valid(*slot) {
                            written = Written::UseSql;
                        }
                    }
                    if written == Written::Yes {
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
        open: &Open,
        slots: &[*mut pg_sys::TupleTableSlot],
        command: pg_sys::CommandId,
        bulk: pg_sys::BulkInsertState,
    ) -> Written {
        // SAFETY: as promised; the function does not change the array.
        unsafe {
            let count = i32::try_from(slots.len()).unwrap_or(i32::MAX);
            pg_sys::table_multi_insert(open.0, slots.as_ptr().cast_mut(), count, command, 0, bulk);
            let unique = self.indexes.iter().all(|index| self.enter(open, index, &index.sorted(slots)));
            if unique { Written::Yes } else { Written::Taken }
        }
    }

    /// # Safety
    /// The slot has the shape of the table, and the values the types of the columns.
    unsafe fn fill(&self, slot: *mut pg_sys::TupleTableSlot, values: &[Option<pg_sys::Datum>]) {
        // SAFETY: the places were looked up in this shape; each slot has as many values as it has columns.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            let columns = usize::try_from((*self.shape).natts).unwrap_or(0);
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, columns);
            let filled = std::slice::from_raw_parts_mut((*slot).tts_values, columns);
            nulls.fill(true);
            for (place, value) in self.places.iter().zip(values) {
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
    unsafe fn is_valid(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
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
    fn row_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: made with the state.
        unsafe { (*(*self.state).es_per_tuple_exprcontext).ecxt_per_tuple_memory }
    }

    /// Enters rows into an index; `false` when one is taken.
    ///
    /// # Safety
    /// The slots are filled and written.
    unsafe fn enter(&self, open: &Open, index: &Index, slots: &[*mut pg_sys::TupleTableSlot]) -> bool {
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
                let relation = relation.get_or_insert_with(|| Open::index(index.oid));
                pg_sys::FormIndexDatum(info, *slot, self.state, values.as_mut_ptr(), nulls.as_mut_ptr());
                // What an access method keeps there points to the open relation.
                info.ii_AmCache = null_mut();
                info.ii_Context = self.row_memory();
                let unique = match info.ii_Unique {
                    // Enters it whatever it finds, and says so; as speculative insertion does.
                    true => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_PARTIAL,
                    false => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                };
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                let tid = &raw mut (**slot).tts_tid;
                let sole = pg_sys::index_insert(relation.0, values, nulls, tid, open.0, unique, false, info);
                sole || !info.ii_Unique
            })
        }
    }
}

/// What INSERT says where nothing may be written.
fn refuse_if_read_only() {
    // SAFETY: raise an error or do nothing.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"INSERT".as_ptr());
        pg_sys::PreventCommandIfParallelMode(c"INSERT".as_ptr());
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
    class.relkind as u8 == pg_sys::RELKIND_RELATION && !class.relhasrules && !triggered && !secured
}

/// Where the columns are in a row; `None` when one is missing, or another would need a default.
///
/// # Safety
/// The shape is valid.
unsafe fn places(shape: pg_sys::TupleDesc, columns: &[&CStr]) -> Option<Vec<usize>> {
    // SAFETY: as promised; names are null-terminated.
    let attributes = unsafe { (*shape).attrs.as_slice(usize::try_from((*shape).natts).ok()?) };
    let name = |attribute: &pg_sys::FormData_pg_attribute| unsafe {
        // SAFETY: as above.
        CStr::from_ptr(attribute.attname.data.as_ptr()).to_owned()
    };
    let live = || attributes.iter().enumerate().filter(|(_, attribute)| !attribute.attisdropped);
    let defaulted = live().any(|(_, attribute)| {
        let given = columns.contains(&name(attribute).as_c_str());
        attribute.attgenerated != 0 || (!given && (attribute.atthasdef || attribute.attidentity != 0))
    });
    let place = |column: &&CStr| live().find(|(_, a)| name(a).as_c_str() == *column).map(|(place, _)| place);
    if defaulted { None } else { columns.iter().map(place).collect() }
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
                let open = Open::index(oid);
                let index = &*(*open.0).rd_index;
                let info = pg_sys::BuildIndexInfo(open.0);
                if !(*info).ii_Predicate.is_null() {
                    (*info).ii_PredicateState = pg_sys::ExecPrepareQual((*info).ii_Predicate, state);
                }
                let usual = index.indimmediate && !index.indisexclusion && (*info).ii_ReadyForInserts;
                usual.then_some(Index { oid, info, uuid: uuid_column(table, info) })
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

/// Does something that may have to be undone: rolled back unless it comes to [`Written::Yes`], and on errors.
fn in_subtransaction(work: impl FnOnce() -> Written) -> Written {
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
        if written == Written::Yes {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        restore();
        written
    }
}
