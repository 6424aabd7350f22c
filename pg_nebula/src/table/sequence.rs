//! Sequences, found by name once a session.
#![expect(unsafe_code, reason = "functions of the server are called as SQL would call them")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};

use super::{delete, relation};
use crate::error::{Error, Result};
use crate::map;
use crate::plan::as_role;

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
        let next = as_role(map::owner()?, || {
            // SAFETY: the function takes the identifier of a sequence.
            Ok(unsafe { direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()]) })
        })?;
        next.ok_or_else(|| Error::broken_promise("next value of a sequence"))
    }

    /// The last value.
    pub(crate) fn last_value(&'static self) -> Result<i64> {
        // SAFETY: a sequence has one row, whose first column is its last value.
        unsafe { delete::only_value(self.oid()?) }.ok_or_else(|| Error::broken_promise("value of a sequence"))
    }

    fn oid(&'static self) -> Result<pg_sys::Oid> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(known) = KNOWN.with_borrow(|all| all.get(&key).copied()) {
            return Ok(known);
        }
        // From here on the session hears of changes, hence first.
        map::register();
        let oid = relation(self.name)?;
        KNOWN.with_borrow_mut(|all| all.insert(key, oid));
        Ok(oid)
    }
}
