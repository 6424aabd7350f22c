//! Sequences, found by name once a session.
#![expect(unsafe_code, reason = "functions of the server are called as SQL would call them")]

use crate::pg::catalog;
use crate::pg::hooks;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys::SnapshotType::SNAPSHOT_ANY;
use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};

use super::handle::{OpenRelation, READ};
use super::row::FoundRow;
use crate::pg::catalog::relation;
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_role;

/// A sequence of this extension, for a `static`.
pub(crate) struct Sequence {
    name: &'static CStr,
}

thread_local! {
    /// Identifiers by the address of the [`Sequence`], which is static and therefore unique.
    static KNOWN: RefCell<HashMap<usize, pg_sys::Oid>> = RefCell::new(HashMap::new());
}

/// A relation has changed: look up again. No relation means any.
pub(super) fn forget(sequence: pg_sys::Oid) {
    KNOWN.with_borrow_mut(|all| all.retain(|_, known| sequence != pg_sys::InvalidOid && *known != sequence));
}

impl Sequence {
    /// The sequence of this name.
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self { name }
    }

    /// The next value, as `nextval` gives it to the owner.
    pub(crate) fn next(&'static self) -> Result<i64> {
        let sequence = self.oid()?;
        let next = as_role(catalog::owner()?, || {
            // SAFETY: the function takes the identifier of a sequence.
            Ok(unsafe { direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()]) })
        })?;
        next.ok_or_else(|| Error::corrupt_schema("next value of a sequence"))
    }

    /// The last value.
    pub(crate) fn last_value(&'static self) -> Result<i64> {
        // SAFETY: a sequence has one row, whose first column is its last value.
        unsafe { only_value(self.oid()?) }.ok_or_else(|| Error::corrupt_schema("value of a sequence"))
    }

    fn oid(&'static self) -> Result<pg_sys::Oid> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(known) = KNOWN.with_borrow(|all| all.get(&key).copied()) {
            return Ok(known);
        }
        // From here on the session hears of changes, hence first.
        hooks::register();
        let oid = relation(self.name)?;
        KNOWN.with_borrow_mut(|all| all.insert(key, oid));
        Ok(oid)
    }
}

/// The first value of the only row of a sequence.
///
/// # Safety
/// It is a sequence, and its first column a `bigint`.
unsafe fn only_value(sequence: pg_sys::Oid) -> Option<i64> {
    let sequence = OpenRelation::table(sequence, READ);
    // SAFETY: as promised; the row never moves, and its value is written at once.
    unsafe {
        let mut any = pg_sys::SnapshotData { snapshot_type: SNAPSHOT_ANY, ..std::mem::zeroed() };
        let slot = pg_sys::table_slot_create(sequence.0, null_mut());
        let mut tid = pg_sys::ItemPointerData::default();
        pgrx::itemptr::item_pointer_set_all(&mut tid, 0, 1);
        let found = pg_sys::table_tuple_fetch_row_version(sequence.0, &mut tid, &mut any, slot);
        let value = found.then(|| FoundRow { slot, column_numbers: &[0] }.read(0));
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        value.flatten()
    }
}
