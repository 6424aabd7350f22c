//! The claim loop: listen first, then claim as many jobs as there are free slots, then sleep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use nebula_connect::Server;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, spawn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::database::{ClaimRequest, Database};
use super::executor::Executor;
use super::health::Health;
use super::listener;
use super::registry::Registry;

/// Delays between claims while the database is away; jitter adds up to the same again.
const OUTAGE_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(5))
    .with_jitter()
    .without_max_times();

/// Claims jobs and runs their handlers.
pub struct Runner {
    /// Name in the job table.
    pub name: String,
    /// Number of jobs that run at the same time.
    pub slots: usize,
    /// Time a claimed job stays with this worker without a heartbeat.
    pub lease: Duration,
    /// Time between claims without a notification: the longest delay that a lost connection, a failover or a
    /// pooler in transaction mode causes.
    pub poll: Duration,
    /// Time that running jobs have to finish at shutdown.
    pub grace: Duration,
    /// Node this worker runs on; makes jobs that are pinned to it claimable.
    pub node: Option<Uuid>,
    /// Capabilities of this worker; makes jobs that ask for one of them claimable.
    pub capabilities: Vec<String>,
    /// File touched whenever the database has answered.
    pub health_file: Option<PathBuf>,
    /// The database.
    pub database: Server,
    /// The database for LISTEN, which needs a session: past a pooler in transaction mode, if there is one.
    pub listener: Server,
    /// The handlers.
    pub registry: Registry,
}

impl Runner {
    /// Runs until `shutdown` and nothing else ends it. Then jobs that are nearly done may finish, and the
    /// others are handed back.
    pub async fn run(self, shutdown: CancellationToken) {
        let wake = Arc::new(Notify::new());
        let kinds = self.registry.kinds();
        let listening = listener::listen(self.listener, kinds.clone(), wake.clone());
        let _listener = AbortOnDropHandle::new(spawn(listening));
        let executor = Arc::new(Executor {
            database: Arc::new(Database::new(&self.database)),
            heartbeat_database: Arc::new(Database::new(&self.database)),
            health: Arc::new(Health(self.health_file)),
            registry: self.registry,
            claim: ClaimRequest {
                worker: self.name,
                kinds,
                lease: self.lease,
                node: self.node,
                capabilities: self.capabilities,
            },
            grace: self.grace,
            shutdown,
        });
        let mut running = JoinSet::new();
        let mut outage: Option<ExponentialBackoff> = None;
        while !executor.shutdown.is_cancelled() {
            let free = self.slots - running.len();
            let claimed = match free {
                0 => Ok(Vec::new()),
                free => executor.database.claim(&executor.claim, free).await,
            };
            match claimed {
                Ok(jobs) => {
                    if outage.take().is_some() {
                        tracing::info!("the database is back");
                    }
                    if free > 0 {
                        executor.health.touch();
                    }
                    for job in jobs {
                        running.spawn(executor.clone().run(job));
                    }
                }
                Err(error) => {
                    if outage.is_none() {
                        tracing::warn!("cannot claim jobs, will keep trying: {error}");
                    }
                    outage.get_or_insert_with(|| OUTAGE_BACKOFF.build());
                }
            }
            let has_free = running.len() < self.slots;
            let delay = outage.as_mut().and_then(Iterator::next).unwrap_or_else(|| jittered(self.poll));
            tokio::select! {
                () = executor.shutdown.cancelled() => {}
                () = wake.notified(), if has_free => {}
                () = sleep(delay), if has_free => {}
                Some(ended) = running.join_next(), if !running.is_empty() => log_panic(ended),
            }
        }
        tracing::info!(running = running.len(), "stopping");
        while let Some(ended) = running.join_next().await {
            log_panic(ended);
        }
    }
}

/// Between half and one and a half of `interval`, so that workers do not poll in step.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.5..1.5))
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!("the executor of a job failed, its lease will end: {error}");
    }
}
