//! An UPDATE that changes a few columns only: the indexes, triggers and generated columns that it leaves alone.
#![expect(unsafe_code, reason = "the description of a table is a C structure")]

use std::ffi::CStr;

use pgrx::prelude::*;

use super::columns;
use super::eligibility::{Statement, runs_nothing_but};
use super::index::Index;
use super::relation::OpenRelation;

/// The columns that updates of a table change.
pub(super) struct Changed {
    names: &'static [&'static CStr],
    /// Numbers of the columns, from 1; `None`: an update may change any.
    numbers: Option<Vec<i16>>,
}

impl Changed {
    /// # Safety
    /// The descriptor is valid.
    pub(super) unsafe fn new(descriptor: pg_sys::TupleDesc, names: Option<&'static [&'static CStr]>) -> Self {
        // SAFETY: as the caller promises.
        let numbers = names.map(|names| unsafe { columns::attribute_numbers(descriptor, names) });
        Self { names: names.unwrap_or_default(), numbers }
    }

    /// Whether the caller fills in all generated columns, as part of those that it changes.
    ///
    /// # Safety
    /// The descriptor is valid.
    pub(super) unsafe fn fills_generated(&self, descriptor: pg_sys::TupleDesc) -> bool {
        // SAFETY: as the caller promises.
        !unsafe { columns::are_generated(descriptor, self.names) }
    }

    /// Whether an index does not depend on these columns: a new version of a row gets an entry of the same key, which
    /// needs no check, whatever the index is.
    ///
    /// # Safety
    /// The index is described by a handle.
    pub(super) unsafe fn leaves_index(&self, index: &Index) -> bool {
        let Some(numbers) = &self.numbers else { return false };
        // SAFETY: as the caller promises; the walker only collects the columns that a predicate names.
        unsafe {
            let info = &*index.info;
            let mut named: *mut pg_sys::Bitmapset = std::ptr::null_mut();
            pg_sys::pull_varattnos(info.ii_Predicate.cast(), 1, &mut named);
            let columns = usize::try_from(info.ii_NumIndexAttrs).unwrap_or(0);
            info.ii_Expressions.is_null()
                && numbers.iter().all(|number| {
                    !info.ii_IndexAttrNumbers[..columns].contains(number) && !is_member(*number, named)
                })
        }
    }

    /// Whether UPDATE runs no rule, policy or trigger but those that do nothing as long as other columns stay as they
    /// are: of foreign keys, and on UPDATE OF other columns.
    pub(super) fn runs_nothing_else(&self, table: &OpenRelation) -> bool {
        runs_nothing_but(table, Statement::Update, |trigger| {
            self.numbers.as_ref().is_some_and(|changed| {
                // SAFETY: the relation is open, and the trigger is its own.
                unsafe {
                    match pg_sys::RI_FKey_trigger_type(trigger.tgfoid).cast_unsigned() {
                        pg_sys::RI_TRIGGER_PK => leaves_keys(table, changed),
                        pg_sys::RI_TRIGGER_FK => leaves_references(table, changed),
                        _ => leaves_columns(trigger, changed),
                    }
                }
            })
        })
    }
}

/// Whether these columns are in none of the keys that foreign keys of other tables may refer to.
///
/// # Safety
/// The relation is open.
unsafe fn leaves_keys(table: &OpenRelation, changed: &[i16]) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let kind = pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_KEY;
        let keys = pg_sys::RelationGetIndexAttrBitmap(table.0, kind);
        changed.iter().all(|number| !is_member(*number, keys))
    }
}

/// Whether these columns are in none of the foreign keys of the table.
///
/// # Safety
/// The relation is open.
unsafe fn leaves_references(table: &OpenRelation, changed: &[i16]) -> bool {
    // SAFETY: as the caller promises; the list is valid for its length, and a key for its number of columns.
    unsafe {
        let list = pg_sys::RelationGetFKeyList(table.0);
        let count = if list.is_null() { 0 } else { (*list).length };
        (0..count).all(|at| {
            let key = &*pg_sys::list_nth(list, at).cast::<pg_sys::ForeignKeyCacheInfo>();
            let columns = usize::try_from(key.nkeys).unwrap_or(0);
            key.conkey[..columns].iter().all(|column| !changed.contains(column))
        })
    }
}

/// Whether a trigger is on UPDATE OF columns, and none of these.
///
/// # Safety
/// The trigger is of an open relation.
unsafe fn leaves_columns(trigger: &pg_sys::Trigger, changed: &[i16]) -> bool {
    let count = usize::try_from(trigger.tgnattr).unwrap_or(0);
    // SAFETY: as the caller promises; the list is valid for its length.
    count > 0
        && unsafe { std::slice::from_raw_parts(trigger.tgattr, count) }
            .iter()
            .all(|column| !changed.contains(column))
}

/// Whether a set of columns, as the server keeps it, has this one.
///
/// # Safety
/// The set is null or valid.
unsafe fn is_member(number: i16, set: *const pg_sys::Bitmapset) -> bool {
    // SAFETY: as the caller promises; sets of columns count from the lowest number of a system column.
    unsafe { pg_sys::bms_is_member(i32::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber, set) }
}
