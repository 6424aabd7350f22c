//! Rows written below SQL, for the few inserts that everybody waits for.
//!
//! Starting an executor costs several times what writing the row does: expressions are parsed and compiled, indexes
//! described, constraints read, each time anew. Here a session does that once and keeps it until the table changes.
//! What is written is what INSERT writes: CHECK and NOT NULL, every index, speculative insertion, logical decoding.
//! Triggers, defaults and row security are not run; a table that has any for INSERT is left to SQL, and so is one with
//! a deferrable or exclusion constraint; the same goes for DELETE where rows are moved. Nothing here asks for
//! privileges: whoever may call the function may write. Only tables of applications ([`Linked`]) are written with no more
//! than their owners' privileges.

mod delete;
mod handle;
mod index_scan;
mod insert;
mod move_rows;
mod open_table;
mod row;
mod sequence;
mod snapshot;
pub(crate) mod trigger;
mod update;

use crate::pg::hooks;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::{Rc, Weak};

use pgrx::{Uuid, pg_sys};

use crate::pg::catalog::relation;
use crate::pg::error::{Error, Result};
use crate::pg::{session as pg_session, settings};
use handle::{READ, TableHandle, WRITE};
pub(crate) use index_scan::{IndexScan, KeyRange, KeyValue, SkipPoint, SkipPoints};
pub(crate) use open_table::OpenTable;
pub(crate) use row::FoundRow;
pub(crate) use sequence::Sequence;

/// Whether this session writes rows below SQL.
///
/// Not in REPEATABLE READ and stricter: a row that the snapshot does not show must be reported with SQLSTATE 40001, which
/// only the executor does.
pub(crate) fn is_on() -> bool {
    settings::direct_writes() && !pg_session::snapshot_is_fixed()
}

/// A table of this extension, and the columns that rows are given with; all others are null.
pub(crate) struct Table {
    name: &'static CStr,
    columns: &'static [&'static CStr],
    /// Its own trigger on DELETE.
    on_delete: Option<&'static CStr>,
    /// The partitioned table that it should be part of.
    parent: Option<&'static CStr>,
}

/// What became of rows that were to be moved.
pub(crate) struct MovedRows<T> {
    /// The answer for each that was moved.
    pub(crate) rows: Vec<T>,
    /// The next one needs SQL; nothing was done to it.
    pub(crate) needs_sql: bool,
}

/// What became of a row that was to be revised.
pub(crate) enum UpdateOutcome<T> {
    /// The answer for it.
    Updated(T),
    /// There is none, or none with an answer.
    NotFound,
    /// Nothing was done: this needs SQL.
    UseSql,
}

/// What was read of a table is true for as long as the table does not change, or say that it has (see [`tell`]).
pub(crate) struct CacheToken(Weak<TableHandle>);

impl CacheToken {
    /// Of nothing, hence never current.
    pub(crate) const fn none() -> Self {
        Self(Weak::new())
    }

    /// Whether the table is as it was, as far as this session has heard.
    pub(crate) fn is_current(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InsertOutcome {
    /// It is there.
    Inserted,
    /// It is not: a row with the same key is, or may be about to be, says this unique index.
    Conflict(pg_sys::Oid),
    /// It is not: this needs SQL.
    UseSql,
}

thread_local! {
    /// Handles of this session, by the address of the [`Table`], which is static and therefore unique.
    static HANDLES: RefCell<HashMap<usize, Rc<TableHandle>>> = RefCell::new(HashMap::new());
}

impl Table {
    /// A table for a `static`.
    pub(crate) const fn new(name: &'static CStr, columns: &'static [&'static CStr]) -> Self {
        Self { name, columns, on_delete: None, parent: None }
    }

    /// The same table with a trigger of this name, whose work whoever calls [`Table::delete`] does.
    pub(crate) const fn with_delete_trigger(self, trigger: &'static CStr) -> Self {
        Self { on_delete: Some(trigger), ..self }
    }

    /// The same table as a partition of this one, whose triggers and rules count too.
    pub(crate) const fn partition_of(self, parent: &'static CStr) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// Opens the table once for several looks and rows.
    pub(crate) fn open_for_writing(&'static self) -> Result<OpenTable> {
        Ok(OpenTable::new(self.handle()?, WRITE))
    }

    /// Opens the table once for several looks.
    pub(crate) fn open_for_reading(&'static self) -> Result<OpenTable> {
        Ok(OpenTable::new(self.handle()?, READ))
    }

    /// Writes one row as INSERT does: one of the same key is an error, and who may be about to write one is waited for.
    /// `false`: this needs SQL, and nothing was done.
    #[expect(unsafe_code, reason = "what the values point to is the caller's")]
    pub(crate) fn insert(&'static self, values: &[Option<pg_sys::Datum>]) -> Result<bool> {
        let handle = self.handle()?;
        // SAFETY: the values outlive the call.
        Ok(handle.can_insert() && unsafe { handle.insert(values) })
    }

    /// Writes all rows, or none when one is taken. `rows` gives the values of the row with this number.
    pub(crate) fn try_insert_all(
        &'static self,
        count: usize,
        rows: impl FnMut(usize, &mut [Option<pg_sys::Datum>]),
    ) -> Result<InsertOutcome> {
        let handle = self.handle()?;
        Ok(if handle.can_insert() { handle.try_insert_all(count, rows) } else { InsertOutcome::UseSql })
    }

    /// What `read` answers first of the rows that a search finds, as the present statement of the caller sees them.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn first<T>(
        &'static self,
        search: &IndexScan<'_>,
        read: impl FnMut(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let handle = self.handle()?;
        if !handle.has_all_columns() {
            return Err(Error::corrupt_schema("column of a table of the extension"));
        }
        // SAFETY: indexes are named after their table.
        Ok(unsafe { handle.first(handle.index(search.index)?, search, read) })
    }

    /// Deletes the one row of a key, in an index that begins with an identifier, that `read` has an answer for, and gives
    /// that. `None`: this needs SQL, and nothing was done. Waits for nobody.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn delete<T>(
        &'static self,
        index: &'static CStr,
        key: Uuid,
        read: impl Fn(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let handle = self.handle()?;
        let key = KeyValue::uuid(key)?;
        if !handle.can_delete() {
            return Ok(None);
        }
        // SAFETY: indexes are named after their table.
        Ok(unsafe { handle.delete(handle.index(index)?, &IndexScan::exact(index, &[key]), read) })
    }

    /// For what is read from now on.
    pub(crate) fn cache_token(&'static self) -> Result<CacheToken> {
        Ok(CacheToken(Rc::downgrade(&self.handle()?)))
    }

    /// Whether a search finds a row, as of now; what others have in flight is not seen.
    pub(crate) fn exists(&'static self, search: &IndexScan<'_>) -> Result<bool> {
        self.open_for_reading()?.exists(search)
    }

    /// Shows `see` each row that a search finds, as of now whatever the caller's transaction sees, and answers until when
    /// that is true.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn each(
        &'static self,
        search: &IndexScan<'_>,
        see: impl FnMut(&FoundRow<'_>),
    ) -> Result<CacheToken> {
        let handle = self.handle()?;
        if !handle.has_all_columns() {
            return Err(Error::corrupt_schema("column of a table of the extension"));
        }
        let stamp = CacheToken(Rc::downgrade(&handle));
        // SAFETY: indexes are named after their table.
        unsafe { handle.each(handle.index(search.index)?, search, see) };
        Ok(stamp)
    }

    /// Changes the one row that a search finds and `row` has an answer for; `row` is given the values it has, and leaves
    /// those it is to have. Whoever else is at it is waited for; for READ COMMITTED only.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn update<T>(
        &'static self,
        search: &IndexScan<'_>,
        row: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Result<UpdateOutcome<T>> {
        let handle = self.handle()?;
        if !handle.can_update() {
            return Ok(UpdateOutcome::UseSql);
        }
        // SAFETY: indexes are named after their table.
        Ok(unsafe { handle.update(handle.index(search.index)?, search, row) })
    }

    /// Moves up to `most` rows that searches find, one search after the other, and that `row` has an answer for into another
    /// table, whose values `row` gives. Rows that others are at are passed by, or with `wait`, when each search is for one row,
    /// waited for; for READ COMMITTED only.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn move_rows<T>(
        &'static self,
        to: &'static Self,
        searches: &[IndexScan<'_>],
        most: usize,
        wait: bool,
        row: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Result<MovedRows<T>> {
        let (from, to) = (self.handle()?, to.handle()?);
        if !from.can_delete() || !to.can_insert() {
            return Ok(MovedRows { rows: Vec::new(), needs_sql: true });
        }
        let Some(search) = searches.first() else {
            return Ok(MovedRows { rows: Vec::new(), needs_sql: false });
        };
        // SAFETY: indexes are named after their table; all searches are of one.
        Ok(unsafe { from.move_rows(&to, from.index(search.index)?, searches, most, wait, row) })
    }

    fn handle(&'static self) -> Result<Rc<TableHandle>> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(handle) = HANDLES.with_borrow(|all| all.get(&key).cloned()) {
            return Ok(handle);
        }
        // From here on the session hears of changes, hence first.
        hooks::register();
        let parent = self.parent.map(relation).transpose()?;
        let handle = Rc::new(TableHandle::new(relation(self.name)?, parent, self.columns, self.on_delete));
        HANDLES.with_borrow_mut(|all| all.insert(key, Rc::clone(&handle)));
        Ok(handle)
    }
}

/// A table has changed: prepare again. No table means any.
pub(crate) fn forget(table: pg_sys::Oid) {
    // Dropped outside the borrow, because freeing memory calls into the server.
    let gone: Vec<Rc<TableHandle>> = HANDLES.with_borrow_mut(|all| {
        all.extract_if(|_, handle| table == pg_sys::InvalidOid || handle.depends_on(table))
            .map(|(_, handle)| handle)
            .collect()
    });
    drop(gone);
    sequence::forget(table);
}
