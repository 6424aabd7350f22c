//! Reading and writing rows through the table access method, without planner and executor.
//!
//! For the few statements that run once per allocation or job: starting an executor costs several times what
//! writing the row does, because expressions are compiled, and indexes and constraints described, anew for
//! each statement. Here a session does that once ([`handle`]) and keeps it until the table changes.
//!
//! Rows are what the statement would have written: NOT NULL, CHECK, the bounds of partitions, all indexes,
//! unique ones included, WAL and logical decoding. If SQL would run anything else, the operation does nothing
//! and says that it needs SQL: for triggers of rows and statements, foreign keys, rules, defaults, generated
//! columns, forced row security, deferrable and exclusion constraints ([`eligibility`]). Hooks of the
//! executor are not called, so pg_stat_statements, auto_explain and pgaudit do not see these rows. Privileges
//! are not checked: EXECUTE on the calling function is enough. `sql/README.md` tells administrators what that
//! means.
//!
//! The name of a [`Table`] and of an index is looked up in the catalog; the callers promise one thing only,
//! that values to be written have the types of the columns in the table's list, as the extension's own script
//! declares them.

mod changed;
mod columns;
mod constraint;
mod delete;
mod eligibility;
pub(crate) mod event_segment;
mod handle;
mod index;
mod index_scan;
mod insert;
mod key;
mod lookup;
mod move_rows;
mod open_table;
mod relation;
mod row;
mod row_lock;
mod sequence;
mod snapshot;
pub(crate) mod trigger;
mod uncommitted;
mod update;
mod version;
pub(crate) mod whole_row;
#[cfg(feature = "pg_test")]
pub(crate) mod write_count;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::{Rc, Weak};

use pgrx::{Uuid, pg_sys};

use crate::pg::error::Result;
use crate::pg::{catalog, hooks, session, settings};
use handle::TableHandle;
pub(crate) use index_scan::{IndexScan, KeyRange, SkipPoint, SkipPoints};
pub(crate) use key::KeyValue;
pub(crate) use open_table::OpenTable;
use relation::{READ, WRITE};
pub(crate) use row::FoundRow;
pub(crate) use sequence::Sequence;
pub(crate) use uncommitted::UncommittedScan;

/// Whether this session writes rows directly.
///
/// Not in REPEATABLE READ and stricter: a row that was changed after the transaction's snapshot must raise
/// SQLSTATE 40001, which only the executor does.
pub(crate) fn is_on() -> bool {
    settings::direct_writes() && !session::snapshot_is_fixed()
}

/// A table in schema nebula, for a `static`.
pub(crate) struct Table {
    name: &'static CStr,
    columns: Columns,
    own_delete_trigger: Option<&'static CStr>,
    /// Columns that updates change; `None`: any.
    changed: Option<&'static [&'static CStr]>,
    /// Foreign keys that hold for every row that is inserted directly.
    held_keys: &'static [&'static CStr],
    parent: Option<&'static CStr>,
}

/// Columns that rows are given with.
#[derive(Clone, Copy)]
enum Columns {
    /// All of the table, in its order.
    All,
    /// These, in this order; all others are NULL.
    Listed(&'static [&'static CStr]),
}

/// Result of [`Table::move_rows`].
pub(crate) struct MovedRows<T> {
    /// The answers for the rows that were moved.
    pub(crate) rows: Vec<T>,
    /// The next row needs SQL; nothing was done to it.
    pub(crate) needs_sql: bool,
}

/// Result of an update.
pub(crate) enum UpdateOutcome<T> {
    /// A row was changed; the answer for it.
    Updated(T),
    /// No row was found, or none with an answer.
    NotFound,
    /// Nothing was done: this needs SQL.
    UseSql,
}

/// Treatment of a row by an update that skips locked rows.
pub(crate) enum Change<T> {
    /// Changes it, and answers this.
    To(T),
    /// Ends the scan.
    Stop,
}

/// Result of an update that skips locked rows.
pub(crate) struct UnlockedUpdate<T> {
    pub(crate) outcome: UpdateOutcome<T>,
    /// A row was skipped because another transaction had changed it, so another snapshot shows more.
    pub(crate) has_changed: bool,
}

/// Result of an insert that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InsertOutcome {
    /// The row was written.
    Inserted,
    /// Nothing was written: this unique index has an entry of the same key, perhaps of a transaction in
    /// progress.
    Conflict(pg_sys::Oid),
    /// Nothing was written: this needs SQL.
    UseSql,
}

/// Tells whether rows that were read from a table and cached may still be current: the table has not changed
/// since, nor has its trigger [`trigger`] told of changed rows.
pub(crate) struct CacheToken(Weak<TableHandle>);

impl CacheToken {
    /// A token that is not current.
    pub(crate) const fn none() -> Self {
        Self(Weak::new())
    }

    /// Whether this session has received no invalidation of the table since the token was made.
    pub(crate) fn is_current(&self) -> bool {
        self.0.strong_count() > 0
    }
}

thread_local! {
    /// Handles of this session by the address of the [`Table`], which is static and therefore unique.
    static HANDLES: RefCell<HashMap<usize, Rc<TableHandle>>> = RefCell::new(HashMap::new());
}

impl Table {
    /// A table with the columns that rows are given with.
    pub(crate) const fn new(name: &'static CStr, columns: &'static [&'static CStr]) -> Self {
        Self { columns: Columns::Listed(columns), ..Self::whole(name) }
    }

    /// A table whose rows are given with all of its columns.
    pub(crate) const fn whole(name: &'static CStr) -> Self {
        let columns = Columns::All;
        Self { name, columns, own_delete_trigger: None, changed: None, held_keys: &[], parent: None }
    }

    /// The same table, of which updates change these columns alone, and fill in what is generated from them.
    pub(crate) const fn changing(self, changed: &'static [&'static CStr]) -> Self {
        Self { changed: Some(changed), ..self }
    }

    /// The same table with foreign keys of these names. The callers have written or locked the rows that they refer to
    /// in the same transaction.
    pub(crate) const fn with_held_keys(self, held_keys: &'static [&'static CStr]) -> Self {
        Self { held_keys, ..self }
    }

    /// The same table with a trigger on DELETE of this name. The callers of [`Table::delete`] do its work.
    pub(crate) const fn with_delete_trigger(self, trigger: &'static CStr) -> Self {
        Self { own_delete_trigger: Some(trigger), ..self }
    }

    /// The same table as a partition of `parent`, whose triggers and rules for INSERT count too.
    pub(crate) const fn partition_of(self, parent: &'static CStr) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// Opens the table for several operations.
    pub(crate) fn open_for_writing(&'static self) -> Result<OpenTable> {
        Ok(OpenTable::new(self.locked_handle(WRITE)?))
    }

    /// Opens the table for several look-ups.
    pub(crate) fn open_for_reading(&'static self) -> Result<OpenTable> {
        Ok(OpenTable::new(self.locked_handle(READ)?))
    }

    /// `INSERT` of one row: waits for transactions in progress that wrote the same key, and raises an error
    /// on a conflict. `false`: nothing was done, this needs SQL.
    pub(crate) fn insert(&'static self, values: &[Option<pg_sys::Datum>]) -> Result<bool> {
        let handle = self.locked_handle(WRITE)?;
        Ok(handle.can_insert() && handle.insert(values))
    }

    /// `INSERT … ON CONFLICT DO NOTHING` of all rows, or of none on a conflict, also with a transaction in
    /// progress. `fill_row` gives the values of the row with this number.
    pub(crate) fn try_insert_all(
        &'static self,
        count: usize,
        fill_row: impl FnMut(usize, &mut [Option<pg_sys::Datum>]),
    ) -> Result<InsertOutcome> {
        let handle = self.locked_handle(WRITE)?;
        if !handle.can_insert() {
            return Ok(InsertOutcome::UseSql);
        }
        Ok(handle.try_insert_all(count, fill_row))
    }

    /// `UPDATE … RETURNING` of the first row of the scan for which `change` returns `Some`; waits for
    /// transactions that change it. `change` gets the row's values and replaces them by the new ones. For
    /// READ COMMITTED only.
    pub(crate) fn update<T>(
        &'static self,
        scan: &IndexScan<'_>,
        change: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Result<UpdateOutcome<T>> {
        let handle = self.locked_handle(WRITE)?;
        if !handle.can_update() {
            return Ok(UpdateOutcome::UseSql);
        }
        handle.update(scan, change)
    }

    /// As [`Table::update`], but skips rows that another transaction has locked, or has changed since the snapshot, which
    /// is taken now. `change` says what to do with a row.
    pub(crate) fn update_unlocked<T>(
        &'static self,
        scan: &IndexScan<'_>,
        change: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Change<T>,
    ) -> Result<UnlockedUpdate<T>> {
        let handle = self.locked_handle(WRITE)?;
        if !handle.can_update() {
            return Ok(UnlockedUpdate { outcome: UpdateOutcome::UseSql, has_changed: false });
        }
        handle.update_unlocked(scan, change)
    }

    /// `DELETE … RETURNING` of the one row with this key, a uuid, for which `read` returns `Some`; returns
    /// that value. `None`: nothing was done, this needs SQL. Does not wait.
    pub(crate) fn delete<T>(
        &'static self,
        index: &'static CStr,
        key: Uuid,
        read: impl Fn(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let handle = self.locked_handle(WRITE)?;
        let key = KeyValue::uuid(key)?;
        if !handle.can_delete() {
            return Ok(None);
        }
        handle.delete(&IndexScan::exact(index, &[key]), read)
    }

    /// `WITH moved AS (DELETE … LIMIT max RETURNING *) INSERT INTO to SELECT … FROM moved`. The rows are
    /// those that the scans find, one scan after the other; `map_row` fills in the new row and answers
    /// something, or skips the row by `None`. Rows that other transactions have locked are skipped, as by
    /// SKIP LOCKED; with `wait` they are waited for, and each scan must be for one row. All scans read one
    /// index. For READ COMMITTED only.
    pub(crate) fn move_rows<T>(
        &'static self,
        to: &'static Self,
        scans: &[IndexScan<'_>],
        max: usize,
        wait: bool,
        map_row: impl FnMut(&FoundRow<'_>, &mut [Option<pg_sys::Datum>]) -> Option<T>,
    ) -> Result<MovedRows<T>> {
        let (from, to) = (self.locked_handle(WRITE)?, to.locked_handle(WRITE)?);
        if !from.can_delete() || !to.can_insert() {
            return Ok(MovedRows { rows: Vec::new(), needs_sql: true });
        }
        from.move_rows(&to, scans, max, wait, map_row)
    }

    /// The first answer of `read` to the rows that a scan finds, in the snapshot of the caller's statement.
    /// `None`: there is none, or this needs SQL.
    pub(crate) fn first<T>(
        &'static self,
        scan: &IndexScan<'_>,
        read: impl FnMut(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let handle = self.locked_handle(READ)?;
        if handle.is_whole() { handle.first(scan, read) } else { Ok(None) }
    }

    /// Calls `visit` with the rows that a scan finds, until it answers `false`, and with whether another transaction
    /// seems to have locked the row. Shows what is committed now, however old the snapshot of the caller's statement is,
    /// which a caller needs that looks again and again until other sessions have made room. `false`: this needs SQL.
    pub(crate) fn visit_now(
        &'static self,
        scan: &IndexScan<'_>,
        visit: impl FnMut(&FoundRow<'_>, bool) -> bool,
    ) -> Result<bool> {
        let handle = self.locked_handle(READ)?;
        if handle.is_whole() {
            handle.visit_now(scan, visit)?;
        }
        Ok(handle.is_whole())
    }

    /// [`Table::first`] of what is committed now, however old the snapshot of the caller's statement is.
    pub(crate) fn first_now<T>(
        &'static self,
        scan: &IndexScan<'_>,
        mut read: impl FnMut(&FoundRow<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut answer = None;
        self.visit_now(scan, |row, _| {
            answer = read(row);
            answer.is_none()
        })?;
        Ok(answer)
    }

    /// A token for what is read from now on.
    pub(crate) fn cache_token(&'static self) -> Result<CacheToken> {
        Ok(CacheToken(Rc::downgrade(&self.locked_handle(READ)?)))
    }

    /// The handle of the locked table. The lock waits for a transaction that alters the table, and reads the
    /// invalidations which that one sent; a handle that they made out of date is replaced.
    fn locked_handle(&'static self, lock: pg_sys::LOCKMODE) -> Result<Rc<TableHandle>> {
        loop {
            let handle = self.handle()?;
            handle.lock(lock);
            if Rc::ptr_eq(&handle, &self.handle()?) {
                return Ok(handle);
            }
        }
    }

    fn handle(&'static self) -> Result<Rc<TableHandle>> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(handle) = HANDLES.with_borrow(|all| all.get(&key).cloned()) {
            return Ok(handle);
        }
        // Before the look-up, so that no change after it goes unheard.
        hooks::register();
        let parent = self.parent.map(catalog::relation).transpose()?;
        let table = catalog::relation(self.name)?;
        let handle = Rc::new(TableHandle::new(table, parent, self));
        HANDLES.with_borrow_mut(|all| all.insert(key, Rc::clone(&handle)));
        Ok(handle)
    }
}

/// Drops what this session keeps of a table that has changed; of all tables for `InvalidOid`.
pub(crate) fn forget(table: pg_sys::Oid) {
    // Dropped outside the borrow, because freeing memory calls into the server.
    let outdated: Vec<Rc<TableHandle>> = HANDLES.with_borrow_mut(|all| {
        all.extract_if(|_, handle| table == pg_sys::InvalidOid || handle.depends_on(table))
            .map(|(_, handle)| handle)
            .collect()
    });
    drop(outdated);
    sequence::forget(table);
}
