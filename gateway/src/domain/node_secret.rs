//! Secrets of nodes, which the database keeps sealed.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, node};
use crate::error::ApiError;

/// Pause between two looks for secrets that are not sealed: administrators make some in SQL.
const INTERVAL: Duration = Duration::from_secs(600);
/// Pause while the database is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Seals secrets in the background, those of an earlier release at the first start.
pub(crate) fn start_sealing(database: Database, stopping: CancellationToken) {
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        loop {
            match seal(&database).await {
                Ok(sealed) => {
                    if sealed > 0 {
                        tracing::info!(sealed, "secrets of nodes are sealed now");
                    }
                    sleep(INTERVAL).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "secrets of nodes cannot be sealed yet");
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }));
}

async fn seal(database: &Database) -> Result<usize, ApiError> {
    node::seal_secrets(&database.client().await?).await
}
