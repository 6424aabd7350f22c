//! Finding out whether a pooler in transaction mode is between a client and the database.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Server;

/// How long the comparison may take: a pooler whose sessions are all taken makes a client wait.
const COMPARISON_TIMEOUT: Duration = Duration::from_secs(5);
/// Comparisons: between two of them, a busy pooler may by chance give a connection the session it had before.
const ROUNDS: usize = 5;

/// Whether sessions are shared could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The server does not answer, or refuses the connection.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// Connections that wait for each other do so in any kind of pooler.
    #[error("a pooler is in between that has no session free for the question whether it shares them")]
    Busy,
}

/// A connection that ends with this value.
struct Probe {
    client: Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
}

/// Whether transactions of one connection run in different sessions of the server.
///
/// A second connection begins a transaction and so holds a session. Where sessions are shared, that is the
/// session that served the first connection a moment ago, or the first connection gets another one now.
pub(crate) async fn shares_sessions(server: &Server) -> Result<bool, ProbeError> {
    shares_sessions_within(server, COMPARISON_TIMEOUT).await
}

async fn shares_sessions_within(server: &Server, patience: Duration) -> Result<bool, ProbeError> {
    let first = Probe::connect(server).await?;
    let comparing = async {
        let second = Probe::connect(server).await?;
        for _ in 0..ROUNDS {
            if shares_session(&first, &second).await? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    timeout(patience, comparing).await.unwrap_or(Err(ProbeError::Busy))
}

async fn shares_session(first: &Probe, second: &Probe) -> Result<bool, tokio_postgres::Error> {
    let before = first.session_id().await?;
    second.client.batch_execute("BEGIN").await?;
    let shared = second.session_id().await? == before || first.session_id().await? != before;
    second.client.batch_execute("ROLLBACK").await?;
    Ok(shared)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// The session that a server names to a query of a connection; `None` makes the connection wait.
    type Sessions = fn(connection: usize, query: usize) -> Option<u32>;

    async fn server(sessions: Sessions) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, sessions));
            }
        });
        Server::parse(&format!("postgresql://u@127.0.0.1:{port}/d?sslmode=disable")).unwrap()
    }

    async fn serve(mut stream: TcpStream, connection: usize, sessions: Sessions) -> Option<()> {
        let startup = stream.read_i32().await.ok()?;
        stream.read_exact(&mut vec![0; startup as usize - 4]).await.ok()?;
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.ok()?;
        let mut count = 0;
        loop {
            stream.read_u8().await.ok()?;
            let mut query = vec![0; stream.read_i32().await.ok()? as usize - 4];
            stream.read_exact(&mut query).await.ok()?;
            let mut answer = Vec::new();
            if query.starts_with(b"SELECT") {
                let session = match sessions(connection, count) {
                    Some(session) => session.to_string(),
                    None => return std::future::pending().await,
                };
                count += 1;
                let length = session.len() as u8;
                let column = b"T\0\0\0\x1c\0\x01pid\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
                answer.extend_from_slice(&column[..]);
                answer.extend_from_slice(&[b'D', 0, 0, 0, 10 + length, 0, 1, 0, 0, 0, length]);
                answer.extend_from_slice(session.as_bytes());
            }
            answer.extend_from_slice(b"C\0\0\0\x08END\0Z\0\0\0\x05I");
            stream.write_all(&answer).await.ok()?;
        }
    }

    #[tokio::test]
    async fn sessions_are_compared_until_chance_is_no_explanation() {
        let own = server(|connection, _| Some(connection as u32)).await;
        assert!(!shares_sessions(&own).await.unwrap());
        let shared = server(|_, _| Some(7)).await;
        assert!(shares_sessions(&shared).await.unwrap());
        // The first connection gets its former session back a few times.
        let lucky = server(|connection, query| Some(connection as u32 + 10 * u32::from(query == 5))).await;
        assert!(shares_sessions(&lucky).await.unwrap());
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_a_session_is_no_answer() {
        let busy = server(|connection, _| (connection == 0).then_some(1)).await;
        let answer = shares_sessions_within(&busy, Duration::from_millis(200)).await;
        assert!(matches!(answer, Err(ProbeError::Busy)), "{answer:?}");
    }
}
