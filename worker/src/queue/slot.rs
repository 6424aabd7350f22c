//! A slot: sees one job through after the other, whatever becomes of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::database::{Claim, Database};
use super::health::Health;
use super::{Context, Failure, Job, Outcome, QueueError, Registry, Report, Stop, attempt, drain, lease};

/// How long a stopping worker tries to tell the database; after that the lease speaks for it.
const LAST_WORD: Duration = Duration::from_secs(3);

/// How long a handler that was told to stop may take before its future is dropped.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What all slots share.
pub(super) struct Slots {
    /// Claims and finishes.
    pub(super) database: Arc<Database>,
    /// Heartbeats have a connection of their own: a statement that waits must not cost the others their leases.
    pub(super) heart: Arc<Database>,
    pub(super) health: Arc<Health>,
    pub(super) registry: Registry,
    pub(super) claim: Claim,
    pub(super) grace: Duration,
    pub(super) shutdown: CancellationToken,
}

impl Slots {
    /// Sees a claimed job through, then the one that was claimed in the same commit, until there is none.
    pub(super) async fn occupy(self: Arc<Self>, job: Job) {
        let mut next = Some(job);
        while let Some(job) = next {
            next = self.see_through(job).await;
        }
    }

    /// Runs one claimed job and reports its end, whatever that is; answers the next one.
    async fn see_through(&self, job: Job) -> Option<Job> {
        let started = Instant::now();
        let (report, latest) = watch::channel(Report::default());
        let (stop, stopped) = watch::channel(None);
        tracing::info!(job = job.id, kind = job.kind, attempt = job.attempt, "job claimed");
        let (heart, health) = (self.heart.clone(), self.health.clone());
        let keeping = lease::keep(heart, health, job.clone(), self.claim.lease, latest.clone(), stop.clone());
        // The lease is kept until the end is recorded, not only until the work is done.
        let _keeper = AbortOnDropHandle::new(spawn(keeping));
        let Some(handler) = self.registry.find(&job.kind) else {
            let error = format!("this worker cannot do {:?}", job.kind);
            self.fail(&job, &Failure { error, retryable: true }).await;
            return None;
        };
        let stopper = drain::stop_at(&self.shutdown, self.grace, started, &latest, &stop);
        let context = Context { report, stop: stopped };
        let outcome = attempt::run(handler, job.clone(), context, STOP_PATIENCE, stopper).await;
        let seconds = started.elapsed().as_secs_f32();
        let failure = match outcome {
            Ok(outcome) => {
                let next = self.finish(&job, outcome).await;
                tracing::info!(job = job.id, seconds, "job ended");
                return next;
            }
            Err(failure) => failure,
        };
        let reason = *stop.borrow();
        match reason {
            Some(Stop::LeaseLost) => {
                tracing::warn!(job = job.id, attempt = job.attempt, "lease lost, work dropped");
            }
            Some(Stop::Stopping) => self.hand_back(&job).await,
            Some(Stop::Cancelled) => {
                self.fail(&job, &Failure { error: "cancelled".into(), retryable: false }).await
            }
            None => {
                let Failure { error, retryable } = &failure;
                tracing::warn!(job = job.id, seconds, retryable, "job failed: {error}");
                self.fail(&job, &failure).await;
            }
        }
        None
    }

    /// Records a finished job, through outages: the work is done and must not be lost. Answers the next one.
    async fn finish(&self, job: &Job, outcome: Outcome) -> Option<Job> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        // After an outage in the middle of a commit nobody knows whether it happened. A job that was claimed in
        // that commit is not known here and goes back when its lease ends.
        let mut uncertain = false;
        let recorded = loop {
            let next = (!self.shutdown.is_cancelled()).then_some(&self.claim);
            match self.database.finish(job, &outcome, next).await {
                Err(QueueError::Unreachable(error)) => {
                    uncertain = true;
                    tracing::warn!(job = job.id, "finished, but not yet recorded: {error}");
                    let stopping = timeout(LAST_WORD, self.shutdown.cancelled());
                    tokio::select! {
                        () = backoff.wait() => {}
                        Ok(()) = stopping => {
                            sleep(Duration::from_millis(500)).await;
                            break self.database.finish(job, &outcome, None).await;
                        }
                    }
                }
                other => break other,
            }
        };
        let error = match recorded {
            Ok(next) => return next,
            Err(error) => error,
        };
        match &error {
            // Most likely our own commit went through. If not, the next attempt clears the way for itself.
            QueueError::LeaseLost if uncertain => {
                tracing::warn!(job = job.id, "finished during an outage, perhaps twice");
                return None;
            }
            QueueError::Unreachable(error) => {
                tracing::error!(
                    job = job.id,
                    "finished, but not recorded before the stop, so it will be done again: {error}"
                );
                return None;
            }
            QueueError::LeaseLost => {
                tracing::warn!(job = job.id, attempt = job.attempt, "lease lost, work dropped")
            }
            QueueError::Gone(_) | QueueError::Refused(_) => {}
        }
        if let Some(record) = outcome.record {
            record.discard().await;
        }
        if !matches!(error, QueueError::LeaseLost) {
            let retryable = !matches!(error, QueueError::Gone(_));
            self.fail(job, &Failure { error: error.to_string(), retryable }).await;
        }
        None
    }

    /// Tells the database that a job failed.
    async fn fail(&self, job: &Job, failure: &Failure) {
        self.tell(job, Some(failure)).await;
    }

    /// Gives the job to another worker, which takes it at once.
    async fn hand_back(&self, job: &Job) {
        tracing::info!(job = job.id, "handed back, this worker stops");
        self.tell(job, None).await;
    }

    /// Tells the database how an attempt ended: in failure, or handed back. Goes on through outages; when it cannot
    /// be told, the end of the lease will.
    async fn tell(&self, job: &Job, failure: Option<&Failure>) {
        let telling = async {
            let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
            loop {
                let told = match failure {
                    Some(Failure { error, retryable }) => self.database.fail(job, error, *retryable).await,
                    None => self.database.hand_back(job).await,
                };
                let Err(error) = told else { return };
                tracing::warn!(job = job.id, "cannot record how the attempt ended: {error}");
                if !matches!(error, QueueError::Unreachable(_)) {
                    return;
                }
                backoff.wait().await;
            }
        };
        let hurry = async {
            self.shutdown.cancelled().await;
            sleep(LAST_WORD).await;
        };
        tokio::select! {
            () = telling => {}
            _ = timeout(self.claim.lease, hurry) => {
                tracing::warn!(job = job.id, "the end of the attempt was not recorded; its lease will end");
            }
        }
    }
}
