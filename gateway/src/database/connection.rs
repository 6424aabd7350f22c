//! A connection of the pool, and how statements run on it.

use std::ops::Deref;

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::proof::Gateway;
use super::statement::{Statement, Statements};

/// A connection for the time of one request.
pub(crate) struct Client {
    connection: Object,
    statements: Statements,
    gateway: Gateway,
}

/// A connection, or a transaction on one.
pub(crate) trait GenericClient {
    fn connection(&self) -> &Client;

    /// The value by which a statement proves that a gateway is calling.
    fn gateway(&self) -> &Gateway {
        &self.connection().gateway
    }
}

impl GenericClient for Client {
    fn connection(&self) -> &Client {
        self
    }
}

impl Client {
    pub(super) fn new(connection: Object, statements: Statements, gateway: Gateway) -> Self {
        Self { connection, statements, gateway }
    }

    /// Prepares a statement, once for each connection.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        match &self.statements {
            Statements::Prepared => Ok(Statement::Prepared(self.connection.prepare_cached(sql).await?)),
            Statements::Whole(types) => types.statement(sql).await,
        }
    }

    /// Runs a statement. It is sent when the future is first polled.
    pub(super) async fn run(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        match statement {
            Statement::Prepared(prepared) => self.connection.query(prepared, values).await,
            Statement::Whole { sql, types } => {
                let typed: Vec<_> = values.iter().copied().zip(types.iter().cloned()).collect();
                self.connection.query_typed(sql, &typed).await
            }
        }
    }
}

impl Deref for Client {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.connection
    }
}
