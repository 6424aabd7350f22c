//! Statements, prepared in the session; or, where sessions are shared, sent whole each time.
//!
//! Behind a pooler in transaction mode the next statement may run in another session, which does not know
//! what was prepared in this one. A statement can then be sent without a name, parsed and run in one message,
//! if the types of its parameters are known beforehand. They are looked up once for each statement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nebula_connect::Server;
use tokio_postgres::types::Type;

/// How this database takes statements.
#[derive(Clone)]
pub(super) enum Statements {
    /// Prepared once for each connection.
    Prepared,
    /// Sent whole.
    Whole(Arc<ParameterTypes>),
}

/// A statement that can be run.
#[derive(Clone)]
pub(super) enum Statement {
    Prepared(tokio_postgres::Statement),
    Whole { sql: Arc<str>, types: Arc<[Type]> },
}

/// The types of parameters by statement.
pub(super) struct ParameterTypes {
    server: Server,
    known: Mutex<HashMap<Arc<str>, Arc<[Type]>>>,
}

impl ParameterTypes {
    pub(super) fn new(server: Server) -> Self {
        Self { server, known: Mutex::default() }
    }

    /// Looks a statement up.
    pub(super) async fn statement(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.lock().get_key_value(sql).map(|(sql, types)| (Arc::clone(sql), Arc::clone(types)));
        if let Some((sql, types)) = known {
            return Ok(Statement::Whole { sql, types });
        }
        let (sql, types): (Arc<str>, Arc<[Type]>) = (sql.into(), self.ask(sql).await?);
        self.lock().insert(Arc::clone(&sql), Arc::clone(&types));
        Ok(Statement::Whole { sql, types })
    }

    /// Asks the server, on a connection that is closed inside its transaction: a pooler, if there is one,
    /// then closes the session, and what was prepared there is in nobody's way.
    async fn ask(&self, sql: &str) -> Result<Arc<[Type]>, tokio_postgres::Error> {
        let (client, connection) = self.server.connect().await?;
        let connection = tokio::spawn(connection);
        let asked = async {
            client.batch_execute("BEGIN").await?;
            Ok(client.prepare(sql).await?.params().into())
        };
        let types = asked.await;
        connection.abort();
        types
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<[Type]>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
