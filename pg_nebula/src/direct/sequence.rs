//! Sequences of the extension.
#![expect(unsafe_code, reason = "nextval is called without an executor")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};

use crate::pg::catalog::{self, relation};
use crate::pg::error::{Error, Result};
use crate::pg::hooks;
use crate::pg::privilege::as_role;
use crate::pg::statement::Statement;

/// A sequence of this extension, for a `static`.
pub(crate) struct Sequence {
    name: &'static CStr,
}

thread_local! {
    /// Object identifiers by the address of the [`Sequence`], which is static and therefore unique.
    static OIDS: RefCell<HashMap<usize, pg_sys::Oid>> = RefCell::new(HashMap::new());
}

/// Drops the identifier of a sequence that has changed; all of them for `InvalidOid`.
pub(super) fn forget(sequence: pg_sys::Oid) {
    OIDS.with_borrow_mut(|all| all.retain(|_, known| sequence != pg_sys::InvalidOid && *known != sequence));
}

impl Sequence {
    /// The sequence of this name in schema nebula.
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self { name }
    }

    /// `nextval`, with the privileges of the extension's owner.
    pub(crate) fn next(&'static self) -> Result<i64> {
        let sequence = self.oid()?;
        let next = as_role(catalog::owner()?, || {
            // SAFETY: the function takes the identifier of a sequence.
            Ok(unsafe { direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()]) })
        })?;
        next.ok_or_else(|| Error::corrupt_schema("next value of a sequence"))
    }

    /// `SELECT last_value`, with the privileges of the extension's owner. Costs a statement: callers cache
    /// the answer.
    pub(crate) fn last_value(&'static self) -> Result<i64> {
        let sql = format!("SELECT last_value FROM nebula.{}", self.name.to_string_lossy());
        let value =
            as_role(catalog::owner()?, || Statement::dynamic(sql).query_opt(&[], |row| row.need::<i64>(1)))?;
        value.ok_or_else(|| Error::corrupt_schema("last value of a sequence"))
    }

    fn oid(&'static self) -> Result<pg_sys::Oid> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(known) = OIDS.with_borrow(|all| all.get(&key).copied()) {
            return Ok(known);
        }
        // Before the look-up, so that no change after it goes unheard.
        hooks::register();
        let oid = relation(self.name)?;
        OIDS.with_borrow_mut(|all| all.insert(key, oid));
        Ok(oid)
    }
}
