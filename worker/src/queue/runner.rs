//! The loop: listen first, then look, then sleep; claims as many jobs as there are free slots and sees each through.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn};
use tokio::time::{sleep, timeout};
use tokio_postgres::Config;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::lease::{self, request};
use super::{
    Backoff, Context, Database, Failure, Handler, Job, Outcome, QueueError, Registry, Report, Stop, jittered,
    listener,
};

/// A job further than this is finished rather than handed back at shutdown, if it makes it in time.
const NEARLY_DONE: f32 = 0.95;
const NEARLY_DONE_GRACE: Duration = Duration::from_secs(4);
/// How long a stopping worker tries to tell the database; after that the lease speaks for it.
const LAST_WORD: Duration = Duration::from_secs(3);

/// Claims jobs and runs their handlers.
pub struct Runner {
    /// Name in the job table.
    pub name: String,
    /// Jobs at the same time.
    pub slots: usize,
    /// Time a job is ours without a heartbeat.
    pub lease: Duration,
    /// Time between looks without a notification.
    pub poll: Duration,
    /// Touched whenever the database has answered.
    pub health_file: Option<PathBuf>,
    /// How to reach the database.
    pub database: Config,
    /// Who does what.
    pub registry: Registry,
}

/// What every running job shares.
struct Shared {
    database: Arc<Database>,
    registry: Registry,
    lease: Duration,
    shutdown: CancellationToken,
}

impl Runner {
    /// Runs until `shutdown`, then hands running jobs back and returns; nothing else makes it return.
    pub async fn run(self, shutdown: CancellationToken) {
        let wake = Arc::new(Notify::new());
        let kinds = self.registry.kinds();
        let _listener = AbortOnDropHandle::new(spawn(listener::listen(
            self.database.clone(),
            kinds.clone(),
            wake.clone(),
        )));
        let database = Arc::new(Database::new(self.database));
        let shared = Arc::new(Shared { database, registry: self.registry, lease: self.lease, shutdown });
        let mut running = JoinSet::new();
        let mut backoff = None;
        while !shared.shutdown.is_cancelled() {
            let free = self.slots - running.len();
            let mut looked = Ok(Vec::new());
            if free > 0 {
                looked = shared.database.claim(&self.name, &kinds, free, self.lease).await;
            }
            let pause = match looked {
                Ok(jobs) => {
                    if backoff.take().is_some() {
                        tracing::info!("the database is back");
                    }
                    self.health_file.as_deref().inspect(|path| touch(path));
                    for job in jobs {
                        running.spawn(shared.clone().see_through(job));
                    }
                    sleep_or_backoff(None, self.poll)
                }
                Err(error) => {
                    if backoff.is_none() {
                        tracing::warn!("cannot look for jobs, will keep trying: {error}");
                    }
                    let first = Duration::from_millis(500);
                    sleep_or_backoff(
                        Some(backoff.get_or_insert_with(|| Backoff::new(first, Duration::from_secs(10)))),
                        self.poll,
                    )
                }
            };
            let has_free = running.len() < self.slots;
            tokio::select! {
                () = shared.shutdown.cancelled() => {}
                () = wake.notified(), if has_free => {}
                () = pause, if has_free => {}
                Some(ended) = running.join_next(), if !running.is_empty() => report_panic(ended),
            }
        }
        tracing::info!(running = running.len(), "stopping");
        while let Some(ended) = running.join_next().await {
            report_panic(ended);
        }
    }
}

/// A database that is away is asked less and less often, one that has no work at the pace of the poll.
async fn sleep_or_backoff(backoff: Option<&mut Backoff>, poll: Duration) {
    match backoff {
        Some(backoff) => backoff.wait().await,
        None => sleep(jittered(poll)).await,
    }
}

impl Shared {
    /// Runs one claimed job and reports its end, whatever that is.
    async fn see_through(self: Arc<Self>, job: Job) {
        let started = Instant::now();
        let (report, latest) = watch::channel(Report::default());
        let (stop, stopped) = watch::channel(None);
        tracing::info!(job = job.id, kind = job.kind, attempt = job.attempt, "job claimed");
        let keeping =
            lease::keep(self.database.clone(), job.clone(), self.lease, latest.clone(), stop.clone());
        // The lease is kept until the end is recorded, not only until the work is done.
        let _keeper = AbortOnDropHandle::new(spawn(keeping));
        let Some(handler) = self.registry.find(&job.kind) else {
            return self
                .give_up(
                    &job,
                    &Failure { error: format!("this worker cannot do {:?}", job.kind), retryable: true },
                )
                .await;
        };
        let work = spawn(handler.clone().run(job.clone(), Context { report, stop: stopped }));
        let watching = self.stop_at_shutdown(&latest, &stop);
        let outcome = tokio::select! {
            outcome = work => outcome,
            never = watching => match never {},
        };
        // A panic is one job's misfortune, not the worker's.
        let outcome = outcome.unwrap_or_else(|panic| {
            Err(Failure { error: format!("the worker failed: {panic}"), retryable: true })
        });
        let seconds = started.elapsed().as_secs_f32();
        match outcome {
            Ok(outcome) => {
                self.complete(&job, outcome, &*handler).await;
                tracing::info!(job = job.id, seconds, "job ended");
            }
            Err(failure) => {
                let reason = *stop.borrow();
                let failure = match reason {
                    Some(Stop::LeaseLost) => {
                        tracing::warn!(job = job.id, attempt = job.attempt, "lease lost, work dropped");
                        return;
                    }
                    Some(Stop::Cancelled) => Failure { error: "cancelled".into(), retryable: false },
                    Some(Stop::Stopping) => Failure { error: "worker stopping".into(), retryable: true },
                    None => failure,
                };
                tracing::warn!(
                    job = job.id,
                    seconds,
                    retryable = failure.retryable,
                    "job failed: {}",
                    failure.error
                );
                self.give_up(&job, &failure).await;
            }
        }
    }

    /// Passes a shutdown on to the job, after a moment's grace when it is nearly done.
    async fn stop_at_shutdown(
        &self,
        latest: &watch::Receiver<Report>,
        stop: &watch::Sender<Option<Stop>>,
    ) -> Infallible {
        self.shutdown.cancelled().await;
        if latest.borrow().progress >= NEARLY_DONE {
            sleep(NEARLY_DONE_GRACE).await;
        }
        request(stop, Stop::Stopping);
        std::future::pending().await
    }

    /// Records a finished job, through outages: the work is done and must not be lost.
    async fn complete(&self, job: &Job, outcome: Outcome, handler: &dyn Handler) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        // After an outage in the middle of a commit nobody knows whether it happened.
        let mut uncertain = false;
        let recorded = loop {
            match self.database.complete(job, &outcome).await {
                Err(QueueError::Unreachable(error)) => {
                    uncertain = true;
                    tracing::warn!(job = job.id, "finished, but not yet recorded: {error}");
                    let stopping = timeout(LAST_WORD, self.shutdown.cancelled());
                    tokio::select! {
                        () = backoff.wait() => {}
                        Ok(()) = stopping => {
                            sleep(Duration::from_millis(500)).await;
                            break self.database.complete(job, &outcome).await;
                        }
                    }
                }
                other => break other,
            }
        };
        match recorded {
            Ok(()) => {}
            // Most likely our own commit went through. If not, the next attempt clears the way for itself.
            Err(QueueError::LeaseLost) if uncertain => {
                tracing::warn!(job = job.id, "finished during an outage, perhaps twice")
            }
            Err(QueueError::Unreachable(error)) => {
                tracing::error!(
                    job = job.id,
                    "finished, but not recorded before the stop, so it will be done again: {error}"
                );
            }
            Err(QueueError::LeaseLost) => {
                tracing::warn!(job = job.id, attempt = job.attempt, "lease lost, work dropped");
                handler.discard(outcome).await;
            }
            Err(error) => {
                handler.discard(outcome).await;
                let retryable = !matches!(error, QueueError::Gone(_));
                self.give_up(job, &Failure { error: error.to_string(), retryable }).await;
            }
        }
    }

    /// Tells the database that a job failed. When it cannot be told, the end of the lease will.
    async fn give_up(&self, job: &Job, failure: &Failure) {
        let telling = async {
            let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
            while let Err(error) = self.database.fail(job, &failure.error, failure.retryable).await {
                tracing::warn!(job = job.id, "cannot record the failure: {error}");
                if !matches!(error, QueueError::Unreachable(_)) {
                    break;
                }
                backoff.wait().await;
            }
        };
        let patience = async {
            let hurry = async {
                self.shutdown.cancelled().await;
                sleep(LAST_WORD).await;
            };
            let _ = timeout(self.lease, hurry).await;
        };
        tokio::select! {
            () = telling => {}
            () = patience => tracing::warn!(job = job.id, "the failure was not recorded; its lease will end"),
        }
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a job's supervisor failed, its lease will end: {error}");
    }
}

/// A health check looks at the age of this file; a worker that cannot write it looks ill, which it is.
fn touch(path: &std::path::Path) {
    if let Err(error) = std::fs::write(path, b"ok\n") {
        tracing::warn!("cannot write the health file {}: {error}", path.display());
    }
}
