//! Prepared statements: the only way this extension runs SQL.
//!
//! Parsing and planning a statement costs more than executing it, so each statement is prepared once per session
//! and kept. Statements name every object with its schema, because a kept plan outlives the caller's search_path.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::PgOid;
use pgrx::prelude::{FromDatum, IntoDatum, Spi};
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiHeapTupleData};

use crate::pg::error::{Error, Result};

thread_local! {
    /// Plans of this session by the address of their [`Statement`], which is static and therefore unique.
    static KEPT: RefCell<HashMap<usize, Rc<OwnedPreparedStatement>>> = RefCell::new(HashMap::new());
}

/// One SQL statement. Argument types follow from the arguments of its first use.
pub(crate) struct Statement {
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
        self.get(ordinal)?.ok_or_else(|| Error::corrupt_schema(&format!("value in column {ordinal}")))
    }
}

impl Statement {
    /// A statement for a `static`.
    pub(crate) const fn new(sql: &'static str) -> Self {
        Self { sql }
    }

    /// All rows, each turned into a value by `read`.
    pub(crate) fn query<T>(
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
    pub(crate) fn query_opt<T>(
        &'static self,
        args: &[DatumWithOid<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(args, read)?.into_iter().next())
    }

    /// Whether the statement answers with a row.
    pub(crate) fn exists(&'static self, args: &[DatumWithOid<'_>]) -> Result<bool> {
        Ok(!self.query(args, |_| Ok(()))?.is_empty())
    }

    /// Runs a statement that writes; answers how many rows it wrote.
    pub(crate) fn execute(&'static self, args: &[DatumWithOid<'_>]) -> Result<usize> {
        Spi::connect(|client| {
            let plan = self.kept(client, args)?;
            Ok(client.select(&*plan, None, args)?.len())
        })
    }

    /// A statement with names in it that are known only at run time, such as a linked table. It lives as long as the
    /// session, so there must be few of them.
    pub(crate) fn dynamic(sql: String) -> &'static Self {
        thread_local! {
            static MADE: RefCell<HashMap<String, &'static Statement>> = RefCell::new(HashMap::new());
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
        self.query(args, |_| Ok(())).map(drop)
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
