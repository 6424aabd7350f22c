//! Connections to PostgreSQL with the TLS settings that its own clients know.
//!
//! `tokio_postgres` reads a connection string as libpq does, but knows neither the modes that check the
//! server's certificate nor the files that this takes. [`Server::parse`] reads those itself and leaves the
//! rest to it.

mod json;
mod pooler;
mod string;
mod tls;

use postgres_openssl::{MakeTlsConnector, TlsStream};
use tokio_postgres::{Client, Config, Connection, Socket};

pub use json::FreeJson;
pub use pooler::ProbeError;
pub use tls::TlsError;

/// A PostgreSQL server, a login there, and how its connections are protected. Clones share the certificates.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: MakeTlsConnector,
}

/// A connection string that cannot be used. The message never repeats it, because it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Not a connection string.
    #[error("{0}")]
    Malformed(String),
    /// A setting that begins with `ssl` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Server {
    /// Reads a connection string: `postgresql://user:password@host/database?sslmode=verify-full`, or
    /// `host=… user=… sslmode=…`. Nothing is contacted, but the files it names are read.
    ///
    /// # Errors
    /// One sentence: the setting, the problem, the remedy.
    pub fn parse(text: &str) -> Result<Self, ServerError> {
        let (rest, settings) = string::split(text);
        let mut config: Config = rest.parse().map_err(|error| ServerError::Malformed(with_source(&error)))?;
        let tls = settings.apply(&mut config)?;
        Ok(Self { config, tls })
    }

    /// The parameters of connections.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The parameters of connections, to be changed.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Whether transactions of one connection run in different sessions of the server, as behind a pooler in
    /// transaction mode: what is prepared, set or listened to is gone with the next statement.
    ///
    /// # Errors
    /// When the server does not answer, or a pooler has no session free for a second connection.
    pub async fn shares_sessions(&self) -> Result<bool, ProbeError> {
        pooler::shares_sessions(self).await
    }

    /// Protects connections that somebody else makes, a pool for instance.
    pub fn tls(&self) -> MakeTlsConnector {
        self.tls.clone()
    }

    /// Connects. The second value must be polled for the first to make progress.
    ///
    /// # Errors
    /// When the server does not answer, refuses, or has a certificate that does not satisfy `sslmode`.
    pub async fn connect(
        &self,
    ) -> Result<(Client, Connection<Socket, TlsStream<Socket>>), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
}

/// Leaves out the password.
impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

/// The messages of an error and its sources: `tokio_postgres` by itself says only "invalid connection
/// string".
fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
