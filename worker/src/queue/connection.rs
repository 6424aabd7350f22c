//! One database connection: made at the first call, kept between calls, made anew after a loss.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use nebula_connect::Server;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::error::QueueError;

/// Limit of a call, the wait for the connection included. A lock that is held for longer counts as an outage.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Sent after connecting, because poolers refuse settings in the startup packet. Behind a pooler in
/// transaction mode another session of the same role may get it, which wants the same; `sql/roles.sql` sets
/// it for all of them.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'";

/// A pool of one: calls take turns.
pub(super) struct Connection(Pool);

impl Connection {
    pub(super) fn new(server: &Server) -> Self {
        // Fast: a closed connection is noticed without a query of its own.
        let options = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(server.config().clone(), server.tls(), options);
        let settings = Hook::async_fn(|client, _| {
            Box::pin(async { client.batch_execute(SETTINGS).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager).max_size(1).post_create(settings);
        Self(pool.build().expect("without pool timeouts no runtime is needed"))
    }

    /// Takes the connection for one call.
    pub(super) async fn begin(&self) -> Result<Call, QueueError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let client = timeout_at(deadline, self.0.get()).await.map_err(|elapsed| timed_out(&elapsed))??;
        Ok(Call { client, deadline })
    }
}

/// The connection while a call uses it.
///
/// Dropping it returns the connection to the pool, also in the middle of a statement: the protocol stays in
/// step, since the reply is read and discarded.
pub(super) struct Call {
    pub(super) client: Object,
    pub(super) deadline: Instant,
}

impl Call {
    /// Ends a call that ran under `timeout_at(deadline, …)`. After an outage or a timeout the state of the
    /// session is unknown, so the connection is closed instead of returned.
    pub(super) fn end<T>(
        self,
        outcome: Result<Result<T, tokio_postgres::Error>, Elapsed>,
    ) -> Result<T, QueueError> {
        let result = match outcome {
            Ok(result) => result.map_err(QueueError::from),
            Err(elapsed) => Err(timed_out(&elapsed)),
        };
        if matches!(result, Err(QueueError::Unreachable(_))) {
            drop(Object::take(self.client));
        }
        result
    }
}

fn timed_out(_: &Elapsed) -> QueueError {
    QueueError::Unreachable("no answer in time".into())
}
