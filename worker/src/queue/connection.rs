//! A connection that comes back by itself.

use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::QueueError;

/// No call waits longer; a lock that is held for so long is an outage, too.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// One connection, made at the first call and again after every loss; calls take turns.
pub(super) struct Connection {
    config: Config,
    client: Mutex<Option<Client>>,
}

impl Connection {
    pub(super) fn new(config: Config) -> Self {
        Self { config, client: Mutex::new(None) }
    }

    /// The connection, made now when there is none. Whoever drops it instead of settling leaves none behind.
    pub(super) async fn borrow(&self) -> Result<Borrowed<'_>, QueueError> {
        let mut home = self.client.lock().await;
        let client = match home.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                // Its end shows in the next call.
                tokio::spawn(connection.map(drop));
                client
            }
        };
        Ok(Borrowed { client, home })
    }
}

/// The connection while a call uses it.
pub(super) struct Borrowed<'a> {
    pub(super) client: Client,
    home: MutexGuard<'a, Option<Client>>,
}

impl Borrowed<'_> {
    /// Gives the connection back, except after an outage: nobody knows what state it is in.
    pub(super) fn settle<T>(mut self, answer: Result<T, tokio_postgres::Error>) -> Result<T, QueueError> {
        let answer = answer.map_err(QueueError::from);
        if !matches!(answer, Err(QueueError::Unreachable(_))) {
            *self.home = Some(self.client);
        }
        answer
    }
}

/// Bounds a call in time, waiting for the connection included.
pub(super) async fn bounded<T>(call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    let answer = timeout(CALL_TIMEOUT, call).await;
    answer.unwrap_or_else(|_| Err(QueueError::Unreachable("no answer in time".into())))
}
