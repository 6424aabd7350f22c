//! Every statement the worker sends.
//!
//! Each is one round trip without a named prepared statement, so that poolers in transaction mode may stand between.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, GenericClient, Row};

use uuid::Uuid;

use super::connection::{Connection, bounded};
use super::{Job, Outcome, QueueError, Report};

/// What a heartbeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Continue,
    Cancel,
}

/// In whose name jobs are claimed, and which.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) worker: String,
    pub(super) kinds: Vec<&'static str>,
    pub(super) lease: Duration,
    pub(super) node: Option<Uuid>,
    pub(super) capabilities: Vec<String>,
}

impl Claim {
    /// Worker, kinds, seconds of the lease, node and capabilities, in this order.
    fn values<'a>(&'a self, lease: &'a f64) -> Vec<Value<'a>> {
        vec![
            (&self.worker, Type::TEXT),
            (&self.kinds, Type::TEXT_ARRAY),
            (lease, Type::FLOAT8),
            (&self.node, Type::UUID),
            (&self.capabilities, Type::TEXT_ARRAY),
        ]
    }
}

/// A value with its type, as `query_typed` wants it.
type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// The calls of the queue, over one connection.
pub(super) struct Database(Connection);

impl Database {
    pub(super) fn new(config: Config) -> Self {
        Self(Connection::new(config))
    }

    /// Up to `max` jobs, ours for the lease.
    pub(super) async fn claim(&self, wanted: &Claim, max: usize) -> Result<Vec<Job>, QueueError> {
        let sql = "SELECT job_id, kind, payload, attempt FROM nebula.claim_jobs(
                     worker => $1, kinds => $2, lease => make_interval(secs => $3), node_id => $4,
                     capabilities => $5, max => $6)";
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let lease = wanted.lease.as_secs_f64();
        let mut values = wanted.values(&lease);
        values.push((&max, Type::INT4));
        let rows = self.query(sql, &values).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(QueueError::from)
    }

    /// Renews the lease and tells how far the job is.
    pub(super) async fn heartbeat(&self, job: &Job, report: &Report) -> Result<Verdict, QueueError> {
        let sql = "SELECT nebula.heartbeat_job($1, $2, $3, $4)";
        let values: [Value; 4] = [
            (&job.id, Type::INT8),
            (&job.attempt, Type::INT4),
            (&report.progress, Type::FLOAT4),
            (&report.detail, Type::JSONB),
        ];
        let answer = text(&self.query(sql, &values).await?);
        Ok(if answer == "cancel" { Verdict::Cancel } else { Verdict::Continue })
    }

    /// Records what was made, finishes the job and claims the next, all in one commit. `next` is `None` when no more
    /// work is wanted.
    pub(super) async fn finish(
        &self,
        job: &Job,
        outcome: &Outcome,
        next: Option<&Claim>,
    ) -> Result<Option<Job>, QueueError> {
        bounded(async {
            let mut borrowed = self.0.borrow().await?;
            let answer = commit(&mut borrowed.client, job, outcome, next).await;
            borrowed.settle(answer)
        })
        .await
    }

    /// Gives the attempt up; the state the job is in then.
    pub(super) async fn fail(&self, job: &Job, error: &str, retryable: bool) -> Result<String, QueueError> {
        // PostgreSQL's text has no NUL, and nobody reads more than this.
        let error: String = error.chars().filter(|letter| *letter != '\0').take(4_000).collect();
        let sql = "SELECT nebula.fail_job($1, $2, $3, $4)";
        let values: [Value; 4] = [
            (&job.id, Type::INT8),
            (&job.attempt, Type::INT4),
            (&error, Type::TEXT),
            (&retryable, Type::BOOL),
        ];
        Ok(text(&self.query(sql, &values).await?))
    }

    /// Gives the job to another worker at once, without counting a failure; the state the job is in then.
    pub(super) async fn hand_back(&self, job: &Job) -> Result<String, QueueError> {
        let sql = "SELECT nebula.hand_back_job($1, $2)";
        Ok(text(&self.query(sql, &[(&job.id, Type::INT8), (&job.attempt, Type::INT4)]).await?))
    }

    async fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, QueueError> {
        bounded(async {
            let borrowed = self.0.borrow().await?;
            let answer = borrowed.client.query_typed(sql, values).await;
            borrowed.settle(answer)
        })
        .await
    }
}

/// Finishes a job together with what it made.
async fn commit(
    client: &mut Client,
    job: &Job,
    outcome: &Outcome,
    next: Option<&Claim>,
) -> Result<Option<Job>, tokio_postgres::Error> {
    let Some(record) = &outcome.record else { return finish(client, job, outcome, next).await };
    let transaction = client.transaction().await?;
    record.write(job, &transaction).await?;
    let claimed = finish(&transaction, job, outcome, next).await?;
    transaction.commit().await?;
    Ok(claimed)
}

/// Finishes a job on a connection or in a transaction.
async fn finish(
    client: &(impl GenericClient + Sync),
    job: &Job,
    outcome: &Outcome,
    next: Option<&Claim>,
) -> Result<Option<Job>, tokio_postgres::Error> {
    let mut values: Vec<Value> =
        vec![(&job.id, Type::INT8), (&job.attempt, Type::INT4), (&outcome.result, Type::JSONB)];
    let Some(next) = next else {
        client.query_typed("SELECT nebula.complete_job($1, $2, $3)", &values).await?;
        return Ok(None);
    };
    let sql = "SELECT job_id, kind, payload, attempt FROM nebula.finish_and_claim(
                 job_id => $1, attempt => $2, result => $3, worker => $4, kinds => $5,
                 lease => make_interval(secs => $6), node_id => $7, capabilities => $8, max => 1)";
    let lease = next.lease.as_secs_f64();
    values.extend(next.values(&lease));
    client.query_typed(sql, &values).await?.first().map(read).transpose()
}

fn read(row: &Row) -> Result<Job, tokio_postgres::Error> {
    Ok(Job { id: row.try_get(0)?, kind: row.try_get(1)?, payload: row.try_get(2)?, attempt: row.try_get(3)? })
}

/// A function's only answer.
fn text(rows: &[Row]) -> String {
    rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default()
}
