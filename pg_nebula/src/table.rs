//! Rows written below SQL, for the few inserts that everybody waits for.
//!
//! Starting an executor costs several times what writing the row does: expressions are parsed and compiled, indexes
//! described, constraints read, each time anew. Here a session does that once and keeps it until the table changes.
//! What is written is what INSERT writes: CHECK and NOT NULL, every index, speculative insertion, logical decoding.
//! Triggers, defaults and row security are not run; a table that has any for INSERT is left to SQL, and so is one with
//! a deferrable or exclusion constraint. Nothing here asks for privileges: whoever may call the function may write.

mod delete;
mod insert;
mod prepared;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::{IntoDatum, Uuid, pg_sys};

use crate::error::{Error, Result};
use crate::map;
pub(crate) use delete::Found;
use prepared::{Open, Prepared, READ};

/// A table of this extension, and the columns that rows are given with; all others are null.
pub(crate) struct Table {
    name: &'static CStr,
    columns: &'static [&'static CStr],
    /// Its own trigger on DELETE.
    on_delete: Option<&'static CStr>,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there.
    Yes,
    /// It is not: a row with the same key is, or may be about to be, says this unique index.
    Taken(pg_sys::Oid),
    /// It is not: this needs SQL.
    UseSql,
}

thread_local! {
    /// What this session has prepared, by the address of the [`Table`], which is static and therefore unique.
    static PREPARED: RefCell<HashMap<usize, Rc<Prepared>>> = RefCell::new(HashMap::new());
}

impl Table {
    /// A table for a `static`.
    pub(crate) const fn new(name: &'static CStr, columns: &'static [&'static CStr]) -> Self {
        Self { name, columns, on_delete: None }
    }

    /// The same table with a trigger of this name, whose work whoever calls [`Table::delete`] does.
    pub(crate) const fn on_delete(self, trigger: &'static CStr) -> Self {
        Self { on_delete: Some(trigger), ..self }
    }

    /// Writes one row, its values in the order of the columns. Waits for nobody: a row of a transaction in flight
    /// counts as taken, and nothing is left of ours then.
    pub(crate) fn insert(&'static self, values: &[Option<pg_sys::Datum>]) -> Result<Written> {
        let prepared = self.prepared()?;
        Ok(if prepared.is_plain() { prepared.insert(values) } else { Written::UseSql })
    }

    /// Writes all rows, or none when one is taken. `rows` gives the values of the row with this number.
    pub(crate) fn insert_all(
        &'static self,
        count: usize,
        rows: impl FnMut(usize, &mut [Option<pg_sys::Datum>]),
    ) -> Result<Written> {
        let prepared = self.prepared()?;
        Ok(if prepared.is_plain() { prepared.insert_all(count, rows) } else { Written::UseSql })
    }

    /// Deletes the one row of a key, in an index that begins with an identifier, that `read` has an answer for, and gives
    /// that. `None`: this needs SQL, and nothing was done. Waits for nobody.
    #[expect(unsafe_code, reason = "only the caller knows what index this is")]
    pub(crate) fn delete<T>(
        &'static self,
        index: &CStr,
        key: Uuid,
        read: impl Fn(&Found<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let prepared = self.prepared()?;
        let key = key.into_datum().ok_or_else(|| Error::broken_promise("identifier"))?;
        if !prepared.deletes_plainly() {
            return Ok(None);
        }
        // SAFETY: indexes are named after their table.
        Ok(unsafe { prepared.delete(relation(index)?, key, read) })
    }

    fn prepared(&'static self) -> Result<Rc<Prepared>> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(prepared) = PREPARED.with_borrow(|all| all.get(&key).cloned()) {
            return Ok(prepared);
        }
        // From here on the session hears of changes, hence first.
        map::register();
        let prepared = Rc::new(Prepared::new(relation(self.name)?, self.columns, self.on_delete));
        PREPARED.with_borrow_mut(|all| all.insert(key, Rc::clone(&prepared)));
        Ok(prepared)
    }
}

/// Whether a table has a row of this key, in an index that begins with an identifier, as of now. Two times as fast as SQL.
#[expect(unsafe_code, reason = "only the caller knows what index this is")]
pub(crate) fn holds(table: &CStr, index: &CStr, key: Uuid) -> Result<bool> {
    let key = key.into_datum().ok_or_else(|| Error::broken_promise("identifier"))?;
    // SAFETY: indexes are named after their table.
    Ok(unsafe { delete::is_there(relation(table)?, relation(index)?, key) })
}

/// A table has changed: prepare again. No table means any.
pub(crate) fn forget(table: pg_sys::Oid) {
    // Dropped outside the borrow, because freeing memory calls into the server.
    let gone: Vec<Rc<Prepared>> = PREPARED.with_borrow_mut(|all| {
        all.extract_if(|_, prepared| table == pg_sys::InvalidOid || prepared.table() == table)
            .map(|(_, prepared)| prepared)
            .collect()
    });
    drop(gone);
}

/// Identifier of a relation in schema nebula.
///
/// # Errors
/// `Kind::Internal` when it is not there: the extension was dropped under our feet.
#[expect(unsafe_code, reason = "two look-ups in the catalog's cache")]
pub(crate) fn relation(name: &CStr) -> Result<pg_sys::Oid> {
    // SAFETY: catalog look-ups by valid names inside a transaction.
    let oid = unsafe {
        pg_sys::get_relname_relid(name.as_ptr(), pg_sys::get_namespace_oid(c"nebula".as_ptr(), true))
    };
    if oid == pg_sys::InvalidOid { Err(Error::broken_promise("table of the extension")) } else { Ok(oid) }
}

/// Who a table belongs to.
#[expect(unsafe_code, reason = "opens a relation to read one field")]
pub(crate) fn owner(table: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: an open relation points to its catalog row.
    unsafe { (*(*Open::table(table, READ).0).rd_rel).relowner }
}
