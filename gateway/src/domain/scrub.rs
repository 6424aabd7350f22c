//! Has the storage compared with the database from time to time; a worker does it.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, storage};
use crate::error::ApiError;

/// Time between tries while the database is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Sets the schedule once the database answers.
pub(crate) fn schedule(database: Database, cron: String, stopping: CancellationToken) {
    let scheduling = async move {
        loop {
            let scheduled = async { storage::schedule_scrub(&database.client().await?, &cron).await };
            match scheduled.await {
                Ok(()) => return,
                Err(error) if error.meaning() == crate::error::UNAVAILABLE => {
                    tracing::debug!(%error, "cannot schedule the scrub yet");
                }
                Err(error) => {
                    let error: ApiError = error;
                    tracing::warn!(%error, "NEBULA_SCRUB: the scrub is not scheduled");
                    return;
                }
            }
            sleep(RETRY_INTERVAL).await;
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(scheduling).await });
}
