//! The end of what is open: a file that is being sent stops when the right to it ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::database::{Account, Database, file};
use crate::error::{ApiError, NOT_AUTHENTICATED, NOT_FOUND, NOT_PERMITTED};
use crate::infra::access_hub::AccessHub;

/// Pause after a look: whoever may connect to the database can send messages without end.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a refusal is for good; while the database is away nothing has ended.
fn has_ended(error: &ApiError) -> bool {
    matches!(error.meaning(), NOT_AUTHENTICATED | NOT_PERMITTED | NOT_FOUND)
}

/// Resolves when the account may not read the file any more.
pub(crate) fn end_of(
    hub: &AccessHub,
    database: &Database,
    account: &Account,
    file_id: Uuid,
) -> impl Future<Output = ()> + Send + 'static {
    let (changes, database, account) = (hub.changes(), database.clone(), account.clone());
    let look = move || {
        let (database, account) = (database.clone(), account.clone());
        async move {
            let client = database.client().await?;
            file::content(&client, &account, file_id, Some("original")).await.map(drop)
        }
    };
    wait(changes, PAUSE, look)
}

/// Looks after each message, until the answer is a refusal.
async fn wait<F: Future<Output = Result<(), ApiError>>>(
    mut changes: watch::Receiver<u64>,
    pause: Duration,
    look: impl Fn() -> F,
) {
    while changes.changed().await.is_ok() {
        match look().await {
            Err(error) if has_ended(&error) => return,
            _ => sleep(pause).await,
        }
    }
    // The gateway stops, which ends its streams by itself.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::UNAVAILABLE;

    #[tokio::test]
    async fn a_stream_ends_when_the_database_refuses_and_not_while_it_is_away() {
        let (sender, changes) = watch::channel(0);
        let (asked, tell) = (Cell::new(0), || sender.send_modify(|count| *count += 1));
        let look = async || {
            asked.set(asked.get() + 1);
            tell();
            match asked.get() {
                1 => Ok(()),
                2 => Err(ApiError::new(UNAVAILABLE, "away")),
                _ => Err(ApiError::new(NOT_AUTHENTICATED, "ended")),
            }
        };
        tell();
        wait(changes, Duration::ZERO, look).await;
        assert_eq!(asked.get(), 3);
    }
}
