//! Kept plans: the only way this extension runs SQL.
//!
//! Parsing and planning a statement costs more than executing it, so each statement is prepared once per session
//! and kept. Statements name every object with its schema, because a kept plan outlives the caller's search_path.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::{self, PgOid};
use pgrx::prelude::{FromDatum, IntoDatum, Spi};
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiHeapTupleData};

use crate::error::{Error, Result};
use crate::map;

thread_local! {
    /// Plans of this session by the address of their [`Plan`], which is static and therefore unique.
    static KEPT: RefCell<HashMap<usize, Rc<OwnedPreparedStatement>>> = RefCell::new(HashMap::new());
}

/// One SQL statement. Argument types follow from the arguments of its first use.
pub(crate) struct Plan {
    sql: &'static str,
}

/// One row of an answer.
pub(crate) struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// Column `ordinal`, from 1; `None` for NULL.
    pub(crate) fn get<T: FromDatum + IntoDatum>(&self, ordinal: usize) -> Result<Option<T>> {
        Ok(self.0.get(ordinal)?)
    }

    /// Column `ordinal` of a column that is never NULL.
    pub(crate) fn need<T: FromDatum + IntoDatum>(&self, ordinal: usize) -> Result<T> {
        self.get(ordinal)?.ok_or_else(|| Error::broken_promise(&format!("value in column {ordinal}")))
    }
}

impl Plan {
    /// A statement for a `static`.
    pub(crate) const fn new(sql: &'static str) -> Self {
        Self { sql }
    }

    /// All rows, each turned into a value by `read`.
    pub(crate) fn rows<T>(
        &'static self,
        args: &[DatumWithOid<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        Spi::connect(|client| {
            let plan = self.kept(client, args)?;
            // Prepared with prepare_mut, so even `select` takes a fresh snapshot: rows written or locked by the
            // statement before are seen, and no transaction id is spent on a mere look.
            let table = client.select(&*plan, None, args)?;
            table.map(|row| read(&Row(row))).collect()
        })
    }

    /// The first row, or `None`.
    pub(crate) fn first<T>(
        &'static self,
        args: &[DatumWithOid<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.rows(args, read)?.into_iter().next())
    }

    /// Whether the statement answers with a row.
    pub(crate) fn hits(&'static self, args: &[DatumWithOid<'_>]) -> Result<bool> {
        Ok(!self.rows(args, |_| Ok(()))?.is_empty())
    }

    /// Runs a statement that writes; answers how many rows it wrote.
    pub(crate) fn changes(&'static self, args: &[DatumWithOid<'_>]) -> Result<usize> {
        Spi::connect(|client| {
            let plan = self.kept(client, args)?;
            Ok(client.select(&*plan, None, args)?.len())
        })
    }

    /// A statement with names in it that are known only at run time, such as a linked table. It lives as long as the
    /// session, so there must be few of them.
    pub(crate) fn made(sql: String) -> &'static Self {
        thread_local! {
            static MADE: RefCell<HashMap<String, &'static Plan>> = RefCell::new(HashMap::new());
        }
        MADE.with_borrow_mut(|made| {
            if let Some(plan) = made.get(&sql) {
                return *plan;
            }
            let plan: &'static Self = Box::leak(Box::new(Self { sql: sql.clone().leak() }));
            made.insert(sql, plan);
            plan
        })
    }

    /// Runs the statement for its effect.
    pub(crate) fn run(&'static self, args: &[DatumWithOid<'_>]) -> Result<()> {
        self.rows(args, |_| Ok(())).map(drop)
    }

    fn kept(
        &'static self,
        client: &SpiClient<'_>,
        args: &[DatumWithOid<'_>],
    ) -> Result<Rc<OwnedPreparedStatement>> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(plan) = KEPT.with_borrow(|kept| kept.get(&key).cloned()) {
            return Ok(plan);
        }
        let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
        let plan = Rc::new(client.prepare_mut(self.sql, &types)?.keep());
        KEPT.with_borrow_mut(|kept| kept.insert(key, Rc::clone(&plan)));
        Ok(plan)
    }
}

/// Does something with the privileges of another role, as PostgreSQL itself does for foreign keys: what triggers of a
/// table run must not have more than the table's owner has.
#[expect(unsafe_code, reason = "two C functions that read and write two variables of the session")]
pub(crate) fn as_role<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(pg_sys::Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: what was in force before; on an error the server restores it too.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: both pointers are to locals; the role is a table's owner, so it exists.
    let _restore = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
        pg_sys::SetUserIdAndSecContext(role, context | flags.cast_signed());
        Restore(user, context)
    };
    work()
}

/// Does something with the privileges of the extension's owner and the search path of its functions, as SECURITY
/// DEFINER would. Functions that seldom need it do without the price of that in every call.
pub(crate) fn as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    as_role(map::owner()?, || with_settings(&[(c"search_path", c"nebula, pg_temp")], work))
}

/// The same for statements that must go by an index whatever the table looks like when they are planned: a plan that is
/// kept must not have been made for an empty table, and what is switched off only looks expensive to a compiler.
pub(crate) fn as_owner_by_index<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    const BY_INDEX: [(&CStr, &CStr); 4] = [
        (c"enable_seqscan", c"off"),
        (c"enable_bitmapscan", c"off"),
        (c"jit", c"off"),
        (c"plan_cache_mode", c"force_generic_plan"),
    ];
    as_owner(|| with_settings(&BY_INDEX, work))
}

/// Does something with other settings, as SET of a function would.
#[expect(unsafe_code, reason = "settings are changed for a while by C functions")]
fn with_settings<T>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                // SAFETY: the level begun below; after an error the abort ends it.
                unsafe { pg_sys::AtEOXact_GUC(true, self.0) };
            }
        }
    }
    // SAFETY: inside a transaction.
    let _restore = Restore(unsafe { pg_sys::NewGUCNestLevel() });
    for (name, value) in settings {
        // SAFETY: inside a transaction; both strings are valid.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
    work()
}
