//! Keeps a claimed job ours, and learns when it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::database::{Database, Verdict};
use super::handler::request;
use super::health::Health;
use super::{Job, QueueError, Report, Stop};

/// The first heartbeat comes early, so that people see a job move.
const FIRST: Duration = Duration::from_secs(1);
/// The longest between two, however long the lease is: progress is looked at, and a cancellation waits for it.
const LONGEST: Duration = Duration::from_secs(5);
/// During an outage; more often than the normal beat, to be back before the lease ends.
const RETRY: Duration = Duration::from_secs(2);

/// Sends heartbeats with the latest report until the job is lost; runs until dropped.
///
/// An outage is no loss: while the database is away nobody else can claim the job either, and afterwards the
/// attempt number decides.
pub(super) async fn keep(
    database: Arc<Database>,
    health: Arc<Health>,
    job: Job,
    lease: Duration,
    report: watch::Receiver<Report>,
    stop: watch::Sender<Option<Stop>>,
) {
    let beat = (lease / 3).min(LONGEST);
    let mut pause = FIRST.min(beat);
    loop {
        sleep(pause).await;
        let latest = report.borrow().clone();
        pause = beat;
        match database.heartbeat(&job, &latest).await {
            Ok(verdict) => {
                health.touch();
                if verdict == Verdict::Cancel {
                    request(&stop, Stop::Cancelled);
                }
            }
            Err(QueueError::LeaseLost) => {
                request(&stop, Stop::LeaseLost);
                return;
            }
            Err(error) => {
                tracing::warn!(job = job.id, "heartbeat: {error}");
                pause = RETRY.min(beat);
            }
        }
    }
}
