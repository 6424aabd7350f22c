//! The pool of connections.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use nebula_connect::{ProbeError, Server, ServerError};
use tokio::sync::OnceCell;

use super::connection::Client;
use super::proof::{Gateway, Signer};
use super::query::query;
use super::statement::{ParameterTypes, Statements};
use crate::error::{ApiError, UNAVAILABLE, with_source};

/// The server cancels a statement that runs longer; the client has given up by then.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a free connection, and for a new one to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Sent after connecting, because poolers refuse settings in the startup packet. Behind a pooler in
/// transaction mode another client of the same role may get them, which is a gateway, too; `sql/roles.sql`
/// sets them for all sessions of that role.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'; \
                        SET default_transaction_isolation = 'read committed'";

/// The connections; clones share them.
#[derive(Clone)]
pub(crate) struct Database {
    pool: Pool,
    server: Server,
    /// The same database past a pooler; without it [`Self::server`] is taken.
    listen: Option<Server>,
    /// Whether anything here will listen: a server does, a command does not.
    listens: bool,
    sessions: Arc<OnceCell<Sessions>>,
    gateway: Gateway,
}

/// The findings about the sessions behind the connections.
enum Sessions {
    Usable(Statements),
    /// LISTEN would hear nothing.
    NoneToListen,
}

/// A connection string cannot be used. The message never repeats it, because it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("{0} cannot be used: {1}; write postgresql://user:password@host:5432/database")]
pub(crate) struct DatabaseUrlError(&'static str, ServerError);

/// State of the pool.
pub(crate) struct Usage {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) max: usize,
}

impl Database {
    /// Reads the URLs; nothing is contacted yet. `listen_url` leads past a pooler in transaction mode.
    pub(crate) fn new(
        url: &str,
        listen_url: Option<&str>,
        connections: usize,
        signer: Signer,
    ) -> Result<Self, DatabaseUrlError> {
        Self::build(url, listen_url, connections, Some(signer))
    }

    /// For a command, which needs one connection, never listens and so may have any pooler in between. It
    /// leaves no settings in a session: behind a pooler, another client of the same role gets it next.
    pub(crate) fn for_command(url: &str) -> Result<Self, DatabaseUrlError> {
        Self::build(url, None, 1, None)
    }

    fn build(
        url: &str,
        listen_url: Option<&str>,
        connections: usize,
        signer: Option<Signer>,
    ) -> Result<Self, DatabaseUrlError> {
        let listens = signer.is_some();
        let server = server("NEBULA_DATABASE_URL", url)?;
        let listen = listen_url.map(|url| self::server("NEBULA_DATABASE_LISTEN_URL", url)).transpose()?;
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let timeouts = Timeouts {
            wait: Some(CONNECT_TIMEOUT),
            create: Some(2 * CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        };
        let settings = Hook::async_fn(|client, _| {
            Box::pin(async { client.batch_execute(SETTINGS).await.map_err(HookError::Backend) })
        });
        let builder = Pool::builder(Manager::from_config(server.config().clone(), server.tls(), manager))
            .max_size(connections)
            // The connection used last has the most statements prepared.
            .queue_mode(QueueMode::Lifo)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1);
        let builder = if listens { builder.post_create(settings) } else { builder };
        let pool = builder.build().expect("a runtime is given, which is all that timeouts need");
        Ok(Self { pool, server, listen, listens, sessions: Arc::default(), gateway: Gateway(signer) })
    }

    /// Takes a connection; dropping it gives it back and rolls back an open transaction. Fails with 503 when
    /// the server does not answer or all connections stay busy, or a pooler keeps LISTEN from hearing
    /// anything.
    pub(crate) async fn client(&self) -> Result<Client, ApiError> {
        let unavailable = |error| ApiError::unavailable("database", &with_source(&error));
        let sessions = self.sessions.get_or_try_init(|| self.find_sessions()).await.map_err(unavailable)?;
        let Sessions::Usable(statements) = sessions else { return Err(no_session()) };
        Ok(Client::new(self.pool.get().await?, statements.clone(), self.gateway.clone()))
    }

    /// Looks for a pooler in transaction mode, once.
    async fn find_sessions(&self) -> Result<Sessions, ProbeError> {
        if !self.server.shares_sessions().await? {
            return Ok(Sessions::Usable(Statements::Prepared));
        }
        let can_listen = match &self.listen {
            Some(listen) => !listen.shares_sessions().await?,
            None => !self.listens,
        };
        if !can_listen {
            tracing::error!("{}", no_session().failure().detail);
            return Ok(Sessions::NoneToListen);
        }
        tracing::info!("a pooler in transaction mode is in between: statements are sent whole");
        // Past the pooler: the sessions behind it may all be held by those who wait for the answer.
        let types = ParameterTypes::new(self.listen_server().clone());
        Ok(Sessions::Usable(Statements::Whole(Arc::new(types))))
    }

    /// Fails if the database answers and a pooler keeps LISTEN from hearing anything.
    pub(crate) async fn refuse_pooler_without_listener(&self) -> Result<(), ApiError> {
        match self.sessions.get_or_try_init(|| self.find_sessions()).await {
            Ok(Sessions::NoneToListen) => Err(no_session()),
            // A database that does not answer yet is asked again by the first request.
            Ok(Sessions::Usable(_)) | Err(_) => Ok(()),
        }
    }

    /// Connects once, for a command whose operator is to read the message of PostgreSQL or of TLS.
    pub(crate) async fn try_connecting(&self) -> Result<(), tokio_postgres::Error> {
        self.server.connect().await.map(drop)
    }

    /// How to connect, for listeners, which keep a connection of their own.
    pub(crate) fn listen_server(&self) -> &Server {
        self.listen.as_ref().unwrap_or(&self.server)
    }

    pub(crate) fn usage(&self) -> Usage {
        let status = self.pool.status();
        Usage { open: status.size, idle: status.available, max: status.max_size }
    }

    /// Fails with 503 unless the database answers, has a pg_nebula that this role may use, and knows the key of this
    /// gateway.
    pub(crate) async fn check(&self) -> Result<(), ApiError> {
        let client = self.client().await?;
        let sql = "SELECT FROM nebula.configuration_versions(nebula.actor($1), '{}')";
        query(&client, sql, &[&self.gateway]).await.map(drop)
    }
}

/// Reads a URL and adds what all connections of the gateway have in common.
fn server(setting: &'static str, url: &str) -> Result<Server, DatabaseUrlError> {
    let mut server = Server::parse(url).map_err(|error| DatabaseUrlError(setting, error))?;
    let config = server.config_mut();
    if config.get_application_name().is_none() {
        config.application_name("nebula-gateway");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.tcp_user_timeout(STATEMENT_TIMEOUT);
    Ok(server)
}

fn no_session() -> ApiError {
    let detail = "NEBULA_DATABASE_URL leads to a pooler in transaction mode, behind which LISTEN hears nothing: \
                  devices and consoles would not learn of changes";
    ApiError::new(UNAVAILABLE, detail).hint(
        "Set NEBULA_DATABASE_LISTEN_URL to PostgreSQL's own address, or to a pooler in session mode; the other \
         connections may stay where they are.",
    )
}

/// Leaves out the configuration, which holds the password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}
