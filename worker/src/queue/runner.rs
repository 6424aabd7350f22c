//! The claim loop: listen first, then claim as many jobs as there are free slots, then sleep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::future::select_all;
use nebula_connect::Server;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet, spawn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::database::{ClaimRequest, Database};
use super::error::QueueError;
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
    /// Handlers of jobs that last long and use little. One job of each registry runs beside those of the slots, so
    /// that neither waits for the other.
    pub beside: Vec<Registry>,
    /// The reason why no job is to run now, if there is one.
    pub pause: watch::Receiver<Option<String>>,
}

/// Jobs that take turns.
struct Lane {
    executor: Arc<Executor>,
    slots: usize,
    running: JoinSet<()>,
}

impl Lane {
    /// Claims as many jobs as there are free slots, and starts them.
    async fn claim(&mut self) -> Result<(), QueueError> {
        let free = self.slots - self.running.len();
        if free == 0 || self.executor.is_paused() || self.executor.claim.kinds.is_empty() {
            return Ok(());
        }
        let jobs = self.executor.database.claim(&self.executor.claim, free).await?;
        self.executor.health.touch();
        for job in jobs {
            self.running.spawn(self.executor.clone().run(job));
        }
        Ok(())
    }
}

/// Puts on record that this worker pauses, and why, or works again.
async fn record_pause(database: &Database, part: &str, reason: Option<&str>) -> Result<(), QueueError> {
    let state = if reason.is_some() { "work-paused" } else { "work-ok" };
    database.record_state(part, state, &json!({"reason": reason})).await
}

/// Waits for the end of a job of any lane.
async fn ended(lanes: &mut [Lane]) {
    let waiting = lanes.iter_mut().filter(|lane| !lane.running.is_empty());
    let (ended, ..) = select_all(waiting.map(|lane| Box::pin(lane.running.join_next()))).await;
    if let Some(ended) = ended {
        log_panic(ended);
    }
}

impl Runner {
    /// Runs until `shutdown` and nothing else ends it. Then jobs that are nearly done may finish, and the
    /// others are handed back.
    pub async fn run(self, shutdown: CancellationToken) {
        let wake = Arc::new(Notify::new());
        let all: Vec<_> =
            [&self.registry].into_iter().chain(&self.beside).flat_map(Registry::kinds).collect();
        let listening = listener::listen(self.listener, all, wake.clone());
        let _listener = AbortOnDropHandle::new(spawn(listening));
        let database = Arc::new(Database::new(&self.database));
        let heartbeat_database = Arc::new(Database::new(&self.database));
        let health = Arc::new(Health(self.health_file));
        let (mut pause, poll) = (self.pause, self.poll);
        let lane = |registry: Registry, slots| {
            let claim = ClaimRequest {
                worker: self.name.clone(),
                kinds: registry.kinds(),
                lease: self.lease,
                node: self.node,
                capabilities: self.capabilities.clone(),
            };
            let executor = Executor {
                database: database.clone(),
                heartbeat_database: heartbeat_database.clone(),
                health: health.clone(),
                registry,
                claim,
                grace: self.grace,
                shutdown: shutdown.clone(),
                pause: pause.clone(),
            };
            Lane { executor: Arc::new(executor), slots, running: JoinSet::new() }
        };
        let mut lanes = vec![lane(self.registry, self.slots)];
        lanes.extend(self.beside.into_iter().map(|registry| lane(registry, 1)));
        let mut outage: Option<ExponentialBackoff> = None;
        let part = format!("worker {}", self.name);
        // Unknown at first: an earlier worker of this name may have ended while it was paused.
        let mut recorded: Option<Option<String>> = None;
        while !shutdown.is_cancelled() {
            let mut claimed = Ok(());
            for lane in &mut lanes {
                claimed = claimed.and(lane.claim().await);
            }
            let paused = pause.borrow_and_update().clone();
            if claimed.is_ok() && recorded.as_ref() != Some(&paused) {
                claimed = record_pause(&database, &part, paused.as_deref()).await;
                if claimed.is_ok() {
                    recorded = Some(paused.clone());
                }
            }
            // A paused worker claims nothing, so it asks whether the database is there.
            if claimed.is_ok() && paused.is_some() {
                claimed = database.ping().await;
                if claimed.is_ok() {
                    health.touch();
                }
            }
            match claimed {
                Ok(()) => {
                    if outage.take().is_some() {
                        tracing::info!("the database is back");
                    }
                }
                Err(error) => {
                    if outage.is_none() {
                        tracing::warn!("cannot claim jobs, will keep trying: {error}");
                    }
                    outage.get_or_insert_with(|| OUTAGE_BACKOFF.build());
                }
            }
            let has_free = lanes.iter().any(|lane| lane.running.len() < lane.slots);
            let is_busy = lanes.iter().any(|lane| !lane.running.is_empty());
            let delay = outage.as_mut().and_then(Iterator::next).unwrap_or_else(|| jittered(poll));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = wake.notified(), if has_free => {}
                () = sleep(delay), if has_free => {}
                Ok(()) = pause.changed() => {}
                () = ended(&mut lanes), if is_busy => {}
            }
        }
        tracing::info!(running = lanes.iter().map(|lane| lane.running.len()).sum::<usize>(), "stopping");
        while lanes.iter().any(|lane| !lane.running.is_empty()) {
            ended(&mut lanes).await;
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
