//! Keeps a claimed job ours, and learns when it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::database::Verdict;
use super::{Database, Job, QueueError, Report, Stop};

/// The first heartbeat comes early, so that people see a job move.
const FIRST: Duration = Duration::from_secs(1);
/// During an outage; more often than the normal beat, to be back before the lease ends.
const RETRY: Duration = Duration::from_secs(2);

/// Sends heartbeats with the latest report until the job is lost; runs until dropped.
///
/// An outage is no loss: while the database is away nobody else can claim the job either, and afterwards the
/// attempt number decides.
pub(super) async fn keep(
    database: Arc<Database>,
    job: Job,
    lease: Duration,
    report: watch::Receiver<Report>,
    stop: watch::Sender<Option<Stop>>,
) {
    let beat = lease / 3;
    let mut pause = FIRST.min(beat);
    loop {
        sleep(pause).await;
        let Report { progress, detail } = report.borrow().clone();
        pause = beat;
        match database.heartbeat(&job, progress, &detail).await {
            Ok(Verdict::Continue) => {}
            Ok(Verdict::Cancel) => request(&stop, Stop::Cancelled),
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

/// The first reason to stop is the one that counts, except that a lost lease outranks all: it forbids to write.
pub(super) fn request(stop: &watch::Sender<Option<Stop>>, reason: Stop) {
    stop.send_if_modified(|current| {
        let changes = current.is_none() || (reason == Stop::LeaseLost && *current != Some(Stop::LeaseLost));
        if changes {
            *current = Some(reason);
        }
        changes
    });
}
