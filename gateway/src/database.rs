//! Connections to PostgreSQL, and one typed call per `nebula.*` function, a file per word.
//!
//! The gateway's role may execute functions and nothing else, so there is no other SQL here. Every call takes a client
//! or a transaction alike ([`GenericClient`]), so that a handler decides what belongs together.

use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{
    GenericClient, Manager, ManagerConfig, Object, Pool, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};

use crate::ApiError;

pub mod account;
pub mod agent;
pub mod authority;
pub mod certificate;
pub mod configuration;
pub mod device;
pub mod enrolment;
pub mod event;
pub mod file;
pub mod firewall;
pub mod job;
pub mod node;
pub mod pool;
pub mod project;
pub mod revocation;
pub mod rotation;
pub mod session;
mod unit;

pub use unit::Unit;

/// How long a statement may run before the server cuts it off; a request that waits longer is lost anyway.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a free connection, and for a new one to be made.
const WAIT: Duration = Duration::from_secs(5);

/// The connections; clones share them.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    config: Config,
}

/// A connection for the time of one request.
pub type Client = Object;

impl Database {
    /// Reads the URL; nothing is contacted yet.
    ///
    /// # Errors
    /// A sentence when the URL cannot be read. It never repeats the URL, which may hold a password.
    pub fn new(url: &str, connections: usize) -> Result<Self, String> {
        let mut config = Config::from_str(url).map_err(|error| {
            format!(
                "NEBULA_DATABASE_URL cannot be read ({}): write postgresql://user:password@host:5432/database",
                crate::error::with_source(&error)
            )
        })?;
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
            config.connect_timeout(WAIT);
        }
        config.tcp_user_timeout(STATEMENT_TIMEOUT);
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config.clone(), NoTls, manager))
            .max_size(connections)
            // The one used last has its plans at hand.
            .queue_mode(QueueMode::Lifo)
            .timeouts(Timeouts { wait: Some(WAIT), create: Some(2 * WAIT), recycle: Some(WAIT) })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given, which is all that timeouts need");
        Ok(Self { pool, config })
    }

    /// A connection; it goes back when dropped, and an open transaction is rolled back.
    ///
    /// # Errors
    /// 503 when the server does not answer or all connections stay busy.
    pub async fn client(&self) -> Result<Client, ApiError> {
        Ok(self.pool.get().await?)
    }

    /// How to connect, for the one who LISTENs on a connection of his own.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Connections: open now, of these idle, at most.
    pub fn usage(&self) -> (usize, usize, usize) {
        let status = self.pool.status();
        (status.size, status.available, status.max_size)
    }

    /// Drops every connection; calls that follow fail.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// Without the configuration, which holds the password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}

/// Runs a statement that answers rows; prepared once per connection.
pub(crate) async fn rows(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, ApiError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, values).await?)
}

/// Runs a statement that answers at most one row.
pub(crate) async fn optional(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Option<Row>, ApiError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, values).await?)
}

/// Runs a statement that answers exactly one row.
pub(crate) async fn one(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Row, ApiError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_one(&statement, values).await?)
}

/// Reads every row into what it stands for.
pub(crate) fn each<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>, ApiError> {
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// One thing of each, for a function that takes lists.
pub(crate) fn column<'a, T, V>(all: &'a [T], of: impl Fn(&'a T) -> V) -> Vec<V> {
    all.iter().map(of).collect()
}

/// Several words as PostgreSQL writes a text[]: an array of arrays must not be ragged, one of texts may.
pub(crate) fn array<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let quote = |word: T| format!("\"{}\"", word.as_ref().replace('\\', r"\\").replace('"', "\\\""));
    let words: Vec<_> = words.into_iter().map(quote).collect();
    format!("{{{}}}", words.join(","))
}

/// Whether the database answers and has a pg_nebula that this role may use.
///
/// # Errors
/// 503 with the reason.
pub async fn check(client: &impl GenericClient) -> Result<(), ApiError> {
    rows(client, "SELECT FROM nebula.list_projects($1)", &[&uuid::Uuid::nil()]).await.map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_quoted() {
        assert_eq!(super::array::<&str>([]), "{}");
        assert_eq!(super::array(["a", "null", ""]), r#"{"a","null",""}"#);
        assert_eq!(super::array([r#"b"\c"#, "d,e"]), r#"{"b\"\\c","d,e"}"#);
    }
}
