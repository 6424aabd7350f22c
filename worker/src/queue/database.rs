//! Every statement the worker sends, over one connection that comes back by itself.

use std::time::Duration;

use futures::FutureExt;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use super::registry::{Outcome, Rendition};

/// No call waits longer; a lock that is held for so long is an outage, too.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

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

/// What the database made of a call.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nobody knows whether it happened: no connection, or the server is stopping. Try again.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The job belongs to another attempt by now, or is finished.
    #[error("the lease of the job is lost")]
    LeaseLost,
    /// What the job works on was deleted meanwhile.
    #[error("{0}")]
    Gone(String),
    /// The database refused; trying the same again will not help.
    #[error("the database refused: {0}")]
    Refused(String),
}

/// What a heartbeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Continue,
    Cancel,
}

/// The connection that claims, heartbeats and finishes.
pub struct Database {
    config: Config,
    client: Mutex<Option<Client>>,
}

impl Database {
    /// Connects at the first call and again after every loss.
    pub fn new(config: Config) -> Self {
        Self { config, client: Mutex::new(None) }
    }

    /// Up to `max` jobs of these kinds, ours for `lease`.
    pub(super) async fn claim(
        &self,
        worker: &str,
        kinds: &[&str],
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Job>, QueueError> {
        let sql = "SELECT job_id, kind, payload, attempt FROM nebula.claim_jobs($1, $2, $3, $4::float8 * interval '1 second')";
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let rows = self.query(sql, &[&worker, &kinds, &max, &lease.as_secs_f64()]).await?;
        let job = |row: &Row| {
            Ok(Job {
                id: row.try_get(0)?,
                kind: row.try_get(1)?,
                payload: row.try_get(2)?,
                attempt: row.try_get(3)?,
            })
        };
        rows.iter().map(job).collect::<Result<_, tokio_postgres::Error>>().map_err(|error| classify(&error))
    }

    /// Renews the lease and tells how far the job is.
    pub(super) async fn heartbeat(
        &self,
        job: &Job,
        progress: f32,
        detail: &Value,
    ) -> Result<Verdict, QueueError> {
        let sql = "SELECT nebula.heartbeat_job($1, $2, $3, $4)";
        let rows = self.query(sql, &[&job.id, &job.attempt, &progress, detail]).await?;
        let answer: Option<String> = rows.first().and_then(|row| row.try_get(0).ok());
        Ok(if answer.as_deref() == Some("cancel") { Verdict::Cancel } else { Verdict::Continue })
    }

    /// Records what was made and finishes the job, in one transaction: both or neither.
    pub(super) async fn complete(&self, job: &Job, outcome: &Outcome) -> Result<(), QueueError> {
        let call = async {
            let mut guard = self.connected().await?;
            let client = guard.as_mut().ok_or_else(no_connection)?;
            let sent = async {
                let transaction = client.transaction().await?;
                for rendition in &outcome.renditions {
                    let sql = "SELECT nebula.add_rendition($1, $2, $3, $4, $5, $6, $7, $8, $9)";
                    let Rendition { file_id, kind, key, size, sha256, content_type, detail } = rendition;
                    let sha256 = &sha256[..];
                    let values: [&(dyn ToSql + Sync); 9] =
                        [&job.id, &job.attempt, file_id, kind, key, size, &sha256, content_type, detail];
                    transaction.execute(sql, &values).await?;
                }
                let sql = "SELECT nebula.complete_job($1, $2, $3)";
                transaction.execute(sql, &[&job.id, &job.attempt, &outcome.result]).await?;
                transaction.commit().await
            };
            settle(sent.await, &mut guard)
        };
        self.within(call).await
    }

    /// Gives the job up; the state it is in then.
    pub(super) async fn fail(&self, job: &Job, error: &str, retryable: bool) -> Result<String, QueueError> {
        // PostgreSQL's text has no NUL, and nobody reads more than this.
        let error: String = error.chars().filter(|letter| *letter != '\0').take(4_000).collect();
        let rows = self
            .query("SELECT nebula.fail_job($1, $2, $3, $4)", &[&job.id, &job.attempt, &error, &retryable])
            .await?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default())
    }

    async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, QueueError> {
        let call = async {
            let mut guard = self.connected().await?;
            let client = guard.as_ref().ok_or_else(no_connection)?;
            let answer = client.query(sql, values).await;
            settle(answer, &mut guard)
        };
        self.within(call).await
    }

    /// A call that runs out of time leaves a connection in an unknown state, so that it is not used again.
    async fn within<T>(&self, call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        let answer = timeout(CALL_TIMEOUT, call).await;
        answer.unwrap_or_else(|_| {
            if let Ok(mut client) = self.client.try_lock() {
                *client = None;
            }
            Err(QueueError::Unreachable("no answer in time".into()))
        })
    }

    /// The connection, made now when there is none.
    async fn connected(&self) -> Result<MutexGuard<'_, Option<Client>>, QueueError> {
        let mut guard = self.client.lock().await;
        if guard.as_ref().is_none_or(Client::is_closed) {
            let (client, connection) = self.config.connect(NoTls).await.map_err(|error| classify(&error))?;
            // Its end shows in the next call.
            tokio::spawn(connection.map(drop));
            *guard = Some(client);
        }
        Ok(guard)
    }
}

/// After an outage the connection is not used again, whatever state it is in.
fn settle<T>(answer: Result<T, tokio_postgres::Error>, guard: &mut Option<Client>) -> Result<T, QueueError> {
    answer.map_err(|error| {
        let error = classify(&error);
        if matches!(error, QueueError::Unreachable(_)) {
            *guard = None;
        }
        error
    })
}

fn no_connection() -> QueueError {
    QueueError::Unreachable("not connected".into())
}

pub(super) fn classify(error: &tokio_postgres::Error) -> QueueError {
    let Some(refusal) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        return QueueError::Unreachable(format!("{error}{cause}"));
    };
    let said = format!("{} ({})", refusal.message(), refusal.code().code());
    let code = refusal.code();
    if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE {
        QueueError::LeaseLost
    } else if *code == SqlState::NO_DATA_FOUND {
        QueueError::Gone(said)
    } else if is_passing(code) {
        QueueError::Unreachable(said)
    } else {
        QueueError::Refused(said)
    }
}

/// Troubles that end by themselves: restarts, failovers, deadlocks, crowding, wrong passwords being put right.
fn is_passing(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    matches!(class, "08" | "28" | "40" | "53" | "57" | "58")
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::UNDEFINED_DATABASE
}
