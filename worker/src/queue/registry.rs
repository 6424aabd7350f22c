//! Who does which kind of job, and what doer and queue tell each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::Job;

/// Does one kind of job.
pub trait Handler: Send + Sync + 'static {
    /// Does the job; ends soon after [`Context::stopped`] does. Must leave nothing behind when it fails.
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>>;

    /// Takes back what an outcome put where others can see it, when it could not be recorded.
    fn discard(&self, outcome: Outcome) -> BoxFuture<'static, ()>;
}

/// A job well done.
#[derive(Debug)]
pub struct Outcome {
    /// For the job row.
    pub result: Value,
    /// For the file it worked on; recorded in the transaction that finishes the job.
    pub renditions: Vec<Rendition>,
}

/// Something derived from a file, already in the store.
#[derive(Debug)]
pub struct Rendition {
    /// The file it was made from.
    pub file_id: Uuid,
    /// What it is, such as `web`; one of each kind per file.
    pub kind: &'static str,
    /// Its key in the store.
    pub key: String,
    /// Bytes.
    pub size: i64,
    /// Hash of the bytes.
    pub sha256: [u8; 32],
    /// Media type.
    pub content_type: &'static str,
    /// How it was made.
    pub detail: Value,
}

/// A job that came to nothing.
#[derive(Debug)]
pub struct Failure {
    /// Why, in a sentence.
    pub error: String,
    /// Whether another try could succeed.
    pub retryable: bool,
}

/// Why a running job must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it.
    Cancelled,
    /// Another attempt owns the job; its rows are not ours to touch.
    LeaseLost,
    /// This worker shuts down.
    Stopping,
}

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// From 0 to 1.
    pub progress: f32,
    /// For people: stage, speed, time left.
    pub detail: Value,
}

/// The line between a running job and the queue.
pub struct Context {
    pub(super) report: watch::Sender<Report>,
    pub(super) stop: watch::Receiver<Option<Stop>>,
}

impl Context {
    /// Says how far the job is; the next heartbeat carries the latest.
    pub fn report(&self, progress: f32, detail: Value) {
        self.report.send_replace(Report { progress, detail });
    }

    /// Ends when the job must end.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.stop.clone();
        match stop.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(Stop::Stopping),
            // The runner itself is gone.
            Err(_) => Stop::Stopping,
        }
    }
}

/// The kinds this worker can do.
#[derive(Default)]
pub struct Registry {
    handlers: BTreeMap<&'static str, Arc<dyn Handler>>,
}

impl Registry {
    /// Adds a kind.
    #[must_use]
    pub fn with(mut self, kind: &'static str, handler: Arc<dyn Handler>) -> Self {
        self.handlers.insert(kind, handler);
        self
    }

    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.handlers.keys().copied().collect()
    }

    pub(super) fn find(&self, kind: &str) -> Option<Arc<dyn Handler>> {
        self.handlers.get(kind).cloned()
    }
}
