//! Renews the lease of a running job, and learns of cancellation and of a lost lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::database::{ClaimRequest, Database, HeartbeatReply};
use super::error::QueueError;
use super::handler::{Job, Report, Stop, request_stop};
use super::health::Health;

/// Delay of the first heartbeat: short, so that progress is visible soon.
const FIRST_HEARTBEAT_DELAY: Duration = Duration::from_secs(1);
/// Applies however long the lease is, since heartbeats carry progress to users and cancellations to the job.
const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Delay after a failed heartbeat: shorter than the interval, to get through before the lease ends.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Sends heartbeats with the latest report, until dropped or until the lease is lost.
///
/// A lease that ran out during an outage is not lost yet: as long as no other worker has claimed the job,
/// this one takes it back. The attempt number decides.
pub(super) async fn renew(
    database: Arc<Database>,
    health: Arc<Health>,
    job: Job,
    claim: ClaimRequest,
    report: watch::Receiver<Report>,
    stop: watch::Sender<Option<Stop>>,
) {
    let interval = (claim.lease / 3).min(MAX_HEARTBEAT_INTERVAL);
    let mut delay = FIRST_HEARTBEAT_DELAY.min(interval);
    loop {
        sleep(delay).await;
        let latest = report.borrow().clone();
        delay = interval;
        match database.heartbeat(&job, &latest).await {
            Ok(reply) => {
                health.touch();
                if reply == HeartbeatReply::Cancel {
                    request_stop(&stop, Stop::Cancelled);
                }
            }
            Err(QueueError::LeaseLost) => match database.reclaim(&job, &claim).await {
                Ok(true) => tracing::info!(job = job.id, "took the job back, whose lease had run out"),
                Err(QueueError::Unreachable(error)) => {
                    tracing::warn!(job = job.id, "taking the job back: {error}");
                    delay = RETRY_DELAY.min(interval);
                }
                Ok(false) | Err(_) => {
                    request_stop(&stop, Stop::LeaseLost);
                    return;
                }
            },
            Err(error) => {
                tracing::warn!(job = job.id, "heartbeat: {error}");
                delay = RETRY_DELAY.min(interval);
            }
        }
    }
}
