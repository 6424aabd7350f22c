//! What whoever does a job and the queue tell each other.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio_postgres::Transaction;

/// A claimed job. `attempt` is the fencing token: every later statement names it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Identifier.
    pub id: i64,
    /// What is to be done.
    pub kind: String,
    /// With what.
    pub payload: Value,
    /// Which try this is, from 1.
    pub attempt: i32,
}

/// Does one kind of job.
pub trait Handler: Send + Sync + 'static {
    /// Does the job; ends soon after [`Context::stopped`] does, or its future is dropped. Must leave nothing behind
    /// when it fails. A panic fails the attempt and nothing else.
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>>;
}

/// A job well done.
#[derive(Default)]
pub struct Outcome {
    /// For the job row.
    pub result: Value,
    /// What else is written in the transaction that finishes the job: both or neither.
    pub record: Option<Box<dyn Record>>,
}

/// What a handler made, to be recorded together with the end of its job.
pub trait Record: Send + Sync {
    /// Writes it. Called again after an outage, in a new transaction.
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>>;

    /// Takes back what it put where others can see it, because it was not recorded and never will be.
    fn discard(self: Box<Self>) -> BoxFuture<'static, ()>;
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
    /// This worker shuts down; the job goes to another one at once.
    Stopping,
}

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// From 0 to 1; unknown until the handler says so.
    pub progress: Option<f32>,
    /// For people: stage, speed, time left.
    pub detail: Option<Value>,
}

/// The line between a running job and the queue.
pub struct Context {
    pub(super) report: watch::Sender<Report>,
    pub(super) stop: watch::Receiver<Option<Stop>>,
}

impl Context {
    /// Says how far the job is, 0 to 1; the next heartbeat carries the latest.
    pub fn report(&self, progress: f32, detail: Value) {
        self.report.send_replace(Report { progress: Some(progress.clamp(0.0, 1.0)), detail: Some(detail) });
    }

    /// Ends when the job must end.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.stop.clone();
        match stop.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(Stop::Stopping),
            // The worker itself is gone.
            Err(_) => Stop::Stopping,
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
