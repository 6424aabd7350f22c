//! Runs claimed jobs to their end and records it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use tokio::sync::watch;
use tokio::task::spawn;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::database::{ClaimRequest, Database};
use super::error::QueueError;
use super::handler::{Context, Failure, Job, Outcome, Report, Retry, Stop};
use super::health::Health;
use super::registry::Registry;
use super::{attempt, drain, lease, postponed};

/// Time a stopping worker has to record how a job ended; after that the lease ends by itself.
const SHUTDOWN_RECORD_TIMEOUT: Duration = Duration::from_secs(3);
/// Delay before the last try to record a finished job at shutdown.
const LAST_TRY_DELAY: Duration = Duration::from_millis(500);
/// Time a handler may take to stop before its future is dropped.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Delays between tries to record how a job ended; jitter adds up to the same again.
const RECORD_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(2))
    .with_jitter()
    .without_max_times();

/// Everything that running jobs share.
pub(super) struct Executor {
    /// Claims and finishes.
    pub(super) database: Arc<Database>,
    /// Heartbeats have a connection of their own, so that a statement that waits for a lock costs no job its
    /// lease.
    pub(super) heartbeat_database: Arc<Database>,
    pub(super) health: Arc<Health>,
    pub(super) registry: Registry,
    pub(super) claim: ClaimRequest,
    pub(super) grace: Duration,
    pub(super) shutdown: CancellationToken,
    pub(super) pause: watch::Receiver<Option<String>>,
}

impl Executor {
    /// Whether no job is to run now.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.borrow().is_some()
    }

    /// Runs a claimed job, then the job that was claimed in the commit that finished it, and so on.
    pub(super) async fn run(self: Arc<Self>, job: Job) {
        let mut next = Some(job);
        while let Some(job) = next {
            next = self.run_one(job).await;
        }
    }

    /// Runs one claimed job and records how it ended; returns the job that was claimed in the same commit.
    async fn run_one(&self, job: Job) -> Option<Job> {
        let started = Instant::now();
        let (report, latest) = watch::channel(Report::default());
        let (stop, stopped) = watch::channel(None);
        tracing::info!(job = job.id, kind = job.kind, attempt = job.attempt, "job claimed");
        let (database, health) = (self.heartbeat_database.clone(), self.health.clone());
        let renewal =
            lease::renew(database, health, job.clone(), self.claim.clone(), latest.clone(), stop.clone());
        // The lease is renewed until the end is recorded, not only until the work is done.
        let _renewal = AbortOnDropHandle::new(spawn(renewal));
        let Some(handler) = self.registry.handler(&job.kind) else {
            let error = format!("this worker cannot do {:?}", job.kind);
            self.fail(&job, &Failure::transient(error)).await;
            return None;
        };
        let stopper = async {
            tokio::select! {
                never = drain::stop_on_shutdown(&self.shutdown, self.grace, started, &latest, &stop) => never,
                never = drain::stop_on_pause(self.pause.clone(), &stop) => never,
            }
        };
        let context = Context { job: job.clone(), rows: self.database.clone(), report, stop: stopped };
        let outcome = attempt::run(handler, job.clone(), context, STOP_TIMEOUT, stopper).await;
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
            Some(Stop::Stopping) => self.hand_back(&job, None).await,
            Some(Stop::Paused) => {
                let reason = self.pause.borrow().clone();
                self.hand_back(&job, reason.map(|reason| format!("paused: {reason}"))).await;
            }
            Some(Stop::Cancelled) => self.fail(&job, &Failure::permanent("cancelled")).await,
            None => {
                let Failure { error, retry } = &failure;
                tracing::warn!(job = job.id, seconds, ?retry, "job failed: {error}");
                self.fail(&job, &failure).await;
            }
        }
        None
    }

    /// Records a finished job, through outages: the work is done and must not be lost. Returns the next job.
    async fn finish(&self, job: &Job, outcome: Outcome) -> Option<Job> {
        let mut delays = RECORD_BACKOFF.build();
        // After an outage in the middle of a commit it is unknown whether the commit happened. A job claimed
        // by that commit is not known here either; it becomes available again when its lease ends.
        let mut is_uncertain = false;
        let recorded = loop {
            let next = (!self.shutdown.is_cancelled() && !self.is_paused()).then_some(&self.claim);
            match self.database.finish(job, &outcome, next).await {
                Err(QueueError::Unreachable(error)) => {
                    is_uncertain = true;
                    tracing::warn!(job = job.id, "finished, but not yet recorded: {error}");
                    let shutdown = timeout(SHUTDOWN_RECORD_TIMEOUT, self.shutdown.cancelled());
                    tokio::select! {
                        () = sleep(delays.next().unwrap_or_default()) => {}
                        Ok(()) = shutdown => {
                            sleep(LAST_TRY_DELAY).await;
                            break self.database.finish(job, &outcome, None).await;
                        }
                    }
                }
                // The lease ran out during an outage. Unless another attempt has begun, the work counts.
                Err(QueueError::LeaseLost) => match self.database.reclaim(job, &self.claim).await {
                    Ok(true) => {
                        tracing::info!(job = job.id, "took the job back, to record that it is finished")
                    }
                    // Looked at again above, where the wait is.
                    Err(QueueError::Unreachable(_)) => {}
                    Ok(false) | Err(_) => break Err(QueueError::LeaseLost),
                },
                other => break other,
            }
        };
        let error = match recorded {
            Ok(next) => return next,
            Err(error) => error,
        };
        match &error {
            // Most likely the commit happened. If not, the next attempt removes what this one stored.
            QueueError::LeaseLost if is_uncertain => {
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
            let retry = if matches!(error, QueueError::Gone(_)) { Retry::Never } else { Retry::Counted };
            self.fail(job, &Failure { error: error.to_string(), retry }).await;
        }
        None
    }

    async fn fail(&self, job: &Job, failure: &Failure) {
        self.record_end(job, Ok(failure)).await;
    }

    async fn hand_back(&self, job: &Job, reason: Option<String>) {
        let why = reason.as_deref().unwrap_or("this worker stops");
        tracing::info!(job = job.id, "handed back: {why}");
        self.record_end(job, Err(reason.as_deref())).await;
    }

    /// Records that an attempt failed or, with a reason or none, that the job is handed back. Retries during an
    /// outage for as long as the lease lasts, but only briefly at shutdown; unrecorded, the job waits for the
    /// end of its lease.
    async fn record_end(&self, job: &Job, failure: Result<&Failure, Option<&str>>) {
        let record = || async {
            match failure {
                Ok(Failure { error, retry: Retry::Uncounted }) => {
                    self.database.postpone(job, postponed::delay(job.attempt), error).await
                }
                Ok(Failure { error, retry }) => {
                    self.database.fail(job, error, *retry == Retry::Counted).await
                }
                Err(reason) => self.database.hand_back(job, reason).await,
            }
        };
        let log = |error: &QueueError| {
            tracing::warn!(job = job.id, "cannot record how the attempt ended: {error}");
        };
        let recording = record
            .retry(RECORD_BACKOFF)
            .when(|error| matches!(error, QueueError::Unreachable(_)))
            .notify(|error, _| log(error));
        let shutdown = async {
            self.shutdown.cancelled().await;
            sleep(SHUTDOWN_RECORD_TIMEOUT).await;
        };
        tokio::select! {
            recorded = recording => drop(recorded.inspect_err(log)),
            _ = timeout(self.claim.lease, shutdown) => {
                tracing::warn!(job = job.id, "the end of the attempt was not recorded; its lease will end");
            }
        }
    }
}
