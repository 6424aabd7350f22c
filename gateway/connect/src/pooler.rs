//! Finding out whether a pooler in transaction mode is between a client and the database.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Server;

/// A pooler with one session for all makes the second client wait for the first.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that ends with this value.
struct Probe {
    client: Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
}

/// Whether transactions of one connection run in different sessions of the server.
///
/// A second connection begins a transaction and so holds a session. Where sessions are shared, that is the
/// session that served the first connection a moment ago, or the first connection gets another one now.
pub(crate) async fn shares_sessions(server: &Server) -> Result<bool, tokio_postgres::Error> {
    let first = Probe::connect(server).await?;
    let before = first.session_id().await?;
    let compared = async {
        let second = Probe::connect(server).await?;
        second.client.batch_execute("BEGIN").await?;
        Ok::<_, tokio_postgres::Error>(
            second.session_id().await? == before || first.session_id().await? != before,
        )
    };
    // A second connection that is refused or has to wait shares nothing.
    Ok(matches!(timeout(PATIENCE, compared).await, Ok(Ok(true))))
}

impl Probe {
    async fn connect(server: &Server) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = server.connect().await?;
        Ok(Self { client, connection: tokio::spawn(connection) })
    }

    /// The process that serves the connection.
    async fn session_id(&self) -> Result<Option<String>, tokio_postgres::Error> {
        let answer = self.client.simple_query("SELECT pg_catalog.pg_backend_pid()").await?;
        Ok(answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
