//! The loop: listen first, then look, then sleep; claims as many jobs as there are free slots.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, spawn};
use tokio::time::sleep;
use tokio_postgres::Config;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::backoff::{Backoff, jittered};
use super::database::{Claim, Database};
use super::health::Health;
use super::slot::Slots;
use super::{Registry, listener};

/// First and longest pause between looks while the database is away.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Claims jobs and runs their handlers.
pub struct Runner {
    /// Name in the job table.
    pub name: String,
    /// Jobs at the same time.
    pub slots: usize,
    /// Time a job is ours without a heartbeat.
    pub lease: Duration,
    /// Time between looks without a notification: what a lost connection, a failover or a pooler in transaction mode
    /// costs at most.
    pub poll: Duration,
    /// Time that jobs have to end by themselves when the worker stops.
    pub grace: Duration,
    /// The node it runs on: jobs that are pinned to it are for this worker, too.
    pub node: Option<Uuid>,
    /// What it can do: jobs that ask for one of these are for this worker, too.
    pub capabilities: Vec<String>,
    /// Touched whenever the database has answered.
    pub health_file: Option<PathBuf>,
    /// How to reach the database.
    pub database: Config,
    /// Who does what.
    pub registry: Registry,
}

impl Runner {
    /// Runs until `shutdown`, then lets jobs that are nearly done end, hands the others back and returns; nothing
    /// else makes it return.
    pub async fn run(self, shutdown: CancellationToken) {
        let wake = Arc::new(Notify::new());
        let kinds = self.registry.kinds();
        let listening = listener::listen(self.database.clone(), kinds.clone(), wake.clone());
        let _listener = AbortOnDropHandle::new(spawn(listening));
        let slots = Arc::new(Slots {
            database: Arc::new(Database::new(self.database.clone())),
            heart: Arc::new(Database::new(self.database)),
            health: Arc::new(Health(self.health_file)),
            registry: self.registry,
            claim: Claim {
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
        let mut outage: Option<Backoff> = None;
        while !slots.shutdown.is_cancelled() {
            let free = self.slots - running.len();
            let looked = match free {
                0 => Ok(Vec::new()),
                free => slots.database.claim(&slots.claim, free).await,
            };
            match looked {
                Ok(jobs) => {
                    if outage.take().is_some() {
                        tracing::info!("the database is back");
                    }
                    if free > 0 {
                        slots.health.touch();
                    }
                    for job in jobs {
                        running.spawn(slots.clone().occupy(job));
                    }
                }
                Err(error) => {
                    if outage.is_none() {
                        tracing::warn!("cannot look for jobs, will keep trying: {error}");
                    }
                    outage.get_or_insert_with(|| Backoff::new(OUTAGE.0, OUTAGE.1));
                }
            }
            let has_free = running.len() < self.slots;
            let pause = async {
                match &mut outage {
                    Some(backoff) => backoff.wait().await,
                    None => sleep(jittered(self.poll)).await,
                }
            };
            tokio::select! {
                () = slots.shutdown.cancelled() => {}
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

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a job's supervisor failed, its lease will end: {error}");
    }
}
