//! The interface between the queue and the code that does a job.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

use super::error::QueueError;

/// Delays between calls while the database is away.
const OUTAGE_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(5))
    .with_jitter()
    .without_max_times();

/// A claimed job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Number of the job.
    pub id: i64,
    /// Selects the handler.
    pub kind: String,
    /// Input of the handler.
    pub payload: Value,
    /// Number of this attempt, from 1. It is the fencing token: every later statement names it.
    pub attempt: i32,
}

/// Does one kind of job.
pub trait Handler: Send + Sync + 'static {
    /// Does the job. Must end soon after [`Context::stopped`] does, else the future is dropped. Must leave
    /// nothing behind when it fails. A panic fails the attempt and nothing else.
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>>;
}

/// The result of a successful job.
#[derive(Default)]
pub struct Outcome {
    /// Stored in the job row.
    pub result: Value,
    /// Written in the transaction that finishes the job: both happen or neither.
    pub record: Option<Box<dyn Record>>,
}

/// Rows that a handler wants written together with the end of its job.
pub trait Record: Send + Sync {
    /// Writes the rows. Called again in a new transaction after an outage.
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>>;

    /// Undoes side effects outside of the database, such as stored objects. Called when the rows were not
    /// written and never will be.
    fn discard(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Why an attempt failed.
#[derive(Debug)]
pub struct Failure {
    /// A sentence for people.
    pub error: String,
    /// Whether another attempt could succeed.
    pub retry: Retry,
}

impl Failure {
    /// The job is at fault: another attempt would fail as well.
    pub fn permanent(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry: Retry::Never }
    }

    /// Another attempt may succeed.
    pub fn transient(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry: Retry::Counted }
    }
}

/// Whether a failed job is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The job is dead.
    Never,
    /// Again, as long as the job has attempts left.
    Counted,
    /// Again until it succeeds, because the machine is at fault: no room, a store that does not answer. The
    /// job waits and uses up no attempt.
    Uncounted,
}

/// Why a running job must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A user cancelled the job.
    Cancelled,
    /// Another attempt owns the job; its rows must not be touched.
    LeaseLost,
    /// This worker shuts down; the job is handed back.
    Stopping,
    /// This worker runs no jobs for a while, because of the battery, the heat or the hour; the job is handed back.
    Paused,
}

/// Progress of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// From 0 to 1; `None` until the handler reports.
    pub(super) progress: Option<f32>,
    /// For people: stage, speed, time left.
    pub(super) detail: Option<Value>,
}

/// A value with its type, as `query_typed` takes it.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The database as a running job sees it.
pub(super) trait JobRows: Send + Sync {
    /// Writes rows of a running job at once.
    fn record<'a>(&'a self, job: &'a Job, record: &'a dyn Record) -> BoxFuture<'a, Result<(), QueueError>>;

    fn read<'a>(
        &'a self,
        sql: &'a str,
        parameters: &'a [Parameter<'a>],
    ) -> BoxFuture<'a, Result<Vec<Row>, QueueError>>;
}

/// Lets a running handler report progress, learn that it must stop, and reach the rows of its job.
pub struct Context {
    pub(super) job: Job,
    pub(super) rows: Arc<dyn JobRows>,
    pub(super) report: watch::Sender<Report>,
    pub(super) stop: watch::Receiver<Option<Stop>>,
}

impl Context {
    /// Reports progress from 0 to 1; the next heartbeat carries the latest report.
    pub fn report(&self, progress: f32, detail: Value) {
        self.report.send_replace(Report { progress: Some(progress.clamp(0.0, 1.0)), detail: Some(detail) });
    }

    /// The progress as last reported; 0 before the first report.
    pub fn progress(&self) -> f32 {
        self.report.borrow().progress.unwrap_or_default()
    }

    /// Writes rows at once, in a transaction of its own. While the database is away it is asked again, until the job
    /// must stop.
    pub async fn record(&self, record: &dyn Record) -> Result<(), Failure> {
        self.insist(|| self.rows.record(&self.job, record)).await
    }

    /// Reads rows. While the database is away it is asked again, until the job must stop.
    pub(crate) async fn read<'a>(
        &self,
        sql: &'a str,
        parameters: &'a [Parameter<'a>],
    ) -> Result<Vec<Row>, Failure> {
        self.insist(|| self.rows.read(sql, parameters)).await
    }

    async fn insist<T, F>(&self, call: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let called = call.retry(OUTAGE_BACKOFF).when(|error| matches!(error, QueueError::Unreachable(_)));
        tokio::select! {
            called = called => called.map_err(|error| match error {
                QueueError::Gone(reason) => Failure::permanent(reason),
                other => Failure::transient(other.to_string()),
            }),
            reason = self.stopped() => Err(Failure::transient(format!("stopped: {reason:?}"))),
        }
    }

    /// Waits until the job must end, and returns why.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.stop.clone();
        match stop.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(Stop::Stopping),
            // The sender is dropped only when the worker ends.
            Err(_) => Stop::Stopping,
        }
    }
}

/// Requests a stop. The first reason stands, except that a lost lease overrides the others: it forbids all
/// writes.
pub(super) fn request_stop(stop: &watch::Sender<Option<Stop>>, reason: Stop) {
    stop.send_if_modified(|current| {
        let changes = current.is_none() || (reason == Stop::LeaseLost && *current != Some(Stop::LeaseLost));
        if changes {
            *current = Some(reason);
        }
        changes
    });
}
