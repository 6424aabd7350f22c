//! The pool of connections.

use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{Config, NoTls};
use uuid::Uuid;

use super::query::query;
use crate::error::{ApiError, with_source};

/// The server cancels a statement that runs longer; the client has given up by then.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a free connection, and for a new one to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections; clones share them.
#[derive(Clone)]
pub(crate) struct Database {
    pool: Pool,
    config: Config,
}

/// A connection for the time of one request.
pub(crate) type Client = Object;

/// The connection string cannot be read. The message never repeats it, because it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("NEBULA_DATABASE_URL cannot be read ({0}): write postgresql://user:password@host:5432/database")]
pub(crate) struct DatabaseUrlError(String);

/// State of the pool.
pub(crate) struct Usage {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) max: usize,
}

impl Database {
    /// Reads the URL; nothing is contacted yet.
    pub(crate) fn new(url: &str, connections: usize) -> Result<Self, DatabaseUrlError> {
        let mut config = Config::from_str(url).map_err(|error| DatabaseUrlError(with_source(&error)))?;
        let options = format!(
            "{} -c statement_timeout={} -c idle_in_transaction_session_timeout=60000",
            config.get_options().unwrap_or_default(),
            STATEMENT_TIMEOUT.as_millis()
        );
        config.options(options.trim_start().to_owned());
        if config.get_application_name().is_none() {
            config.application_name("nebula-gateway");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.tcp_user_timeout(STATEMENT_TIMEOUT);
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let timeouts = Timeouts {
            wait: Some(CONNECT_TIMEOUT),
            create: Some(2 * CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        };
        let pool = Pool::builder(Manager::from_config(config.clone(), NoTls, manager))
            .max_size(connections)
            // The connection used last has the most statements prepared.
            .queue_mode(QueueMode::Lifo)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given, which is all that timeouts need");
        Ok(Self { pool, config })
    }

    /// Takes a connection; dropping it gives it back and rolls back an open transaction. Fails with 503 when
    /// the server does not answer or all connections stay busy.
    pub(crate) async fn client(&self) -> Result<Client, ApiError> {
        Ok(self.pool.get().await?)
    }

    /// How to connect, for listeners, which keep a connection of their own.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn usage(&self) -> Usage {
        let status = self.pool.status();
        Usage { open: status.size, idle: status.available, max: status.max_size }
    }

    /// Fails with 503 unless the database answers and has a pg_nebula that this role may use.
    pub(crate) async fn check(&self) -> Result<(), ApiError> {
        let client = self.client().await?;
        query(&client, "SELECT FROM nebula.list_projects($1)", &[&Uuid::nil()]).await.map(drop)
    }
}

/// Leaves out the configuration, which holds the password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}
