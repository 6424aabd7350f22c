//! Prepared statements: the only way in which functions of this extension run SQL.
//!
//! Parsing and planning a statement costs more than executing it, so each statement is prepared once in a
//! session. All statements qualify every object with its schema, because the plan outlives the caller's
//! search_path.

mod latest;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::PgOid;
use pgrx::prelude::{FromDatum, IntoDatum, Spi};
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiHeapTupleData};

use crate::pg::error::{Error, Result};
use crate::pg::session::snapshot_is_fixed;

thread_local! {
    /// Plans of this session by the address of their [`Statement`], which is static and therefore unique.
    static PLANS: RefCell<HashMap<usize, Rc<OwnedPreparedStatement>>> = RefCell::new(HashMap::new());
}

/// One SQL statement. Argument types follow from the arguments of its first use.
pub(crate) struct Statement {
    sql: &'static str,
}

/// One row of a result.
pub(crate) struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// Column `ordinal`, from 1; `None` for NULL.
    pub(crate) fn get<T: FromDatum + IntoDatum>(&self, ordinal: usize) -> Result<Option<T>> {
        Ok(self.0.get(ordinal)?)
    }

    /// Column `ordinal`, from 1, of a column that is never NULL.
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
            let plan = self.plan(client, args)?;
            // A statement of prepare_mut gets a new snapshot even from `select`, so it sees rows that the
            // statement before has written or locked. Unlike `update`, `select` does not assign a transaction
            // identifier.
            let table = client.select(&*plan, None, args)?;
            table.map(|row| read(&Row(row))).collect()
        })
    }

    /// [`Statement::query`] of a SELECT as of now, also in REPEATABLE READ and stricter: for decisions that
    /// an older snapshot would get wrong.
    pub(crate) fn query_latest<T>(
        &'static self,
        args: &[DatumWithOid<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        if snapshot_is_fixed() { latest::query(self.sql, args, read) } else { self.query(args, read) }
    }

    /// The first row, or `None`.
    pub(crate) fn query_opt<T>(
        &'static self,
        args: &[DatumWithOid<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(args, read)?.into_iter().next())
    }

    /// Whether the statement returns a row.
    pub(crate) fn exists(&'static self, args: &[DatumWithOid<'_>]) -> Result<bool> {
        Ok(!self.query(args, |_| Ok(()))?.is_empty())
    }

    /// Runs a statement that writes; the number of rows written.
    pub(crate) fn execute(&'static self, args: &[DatumWithOid<'_>]) -> Result<usize> {
        Spi::connect(|client| {
            let plan = self.plan(client, args)?;
            Ok(client.select(&*plan, None, args)?.len())
        })
    }

    /// A statement with names that are known only at run time, such as that of a linked table. It is never
    /// freed, so there must be few of them in a session.
    pub(crate) fn dynamic(sql: String) -> &'static Self {
        thread_local! {
            static STATEMENTS: RefCell<HashMap<String, &'static Statement>> = RefCell::new(HashMap::new());
        }
        STATEMENTS.with_borrow_mut(|statements| {
            if let Some(statement) = statements.get(&sql) {
                return *statement;
            }
            let statement: &'static Self = Box::leak(Box::new(Self { sql: sql.clone().leak() }));
            statements.insert(sql, statement);
            statement
        })
    }

    /// Runs the statement for its effect.
    pub(crate) fn run(&'static self, args: &[DatumWithOid<'_>]) -> Result<()> {
        self.query(args, |_| Ok(())).map(drop)
    }

    fn plan(
        &'static self,
        client: &SpiClient<'_>,
        args: &[DatumWithOid<'_>],
    ) -> Result<Rc<OwnedPreparedStatement>> {
        let key = std::ptr::from_ref(self).addr();
        if let Some(plan) = PLANS.with_borrow(|plans| plans.get(&key).cloned()) {
            return Ok(plan);
        }
        let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
        let plan = Rc::new(client.prepare_mut(self.sql, &types)?.keep());
        PLANS.with_borrow_mut(|plans| plans.insert(key, Rc::clone(&plan)));
        Ok(plan)
    }
}
