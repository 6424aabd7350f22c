//! All SQL statements of the queue.
//!
//! None uses a named prepared statement, so that a pooler in transaction mode may stand between worker and
//! database.

use std::time::Duration;

use futures::future::BoxFuture;
use nebula_connect::{FreeJson, Server};
use serde_json::Value;
use tokio::time::timeout_at;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Row};
use uuid::Uuid;

use super::connection::Connection;
use super::error::QueueError;
use super::handler::{Job, JobRows, Outcome, Parameter, Record, Report};

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeartbeatReply {
    Continue,
    Cancel,
}

/// The arguments of a claim, apart from the number of jobs.
#[derive(Clone, Debug)]
pub(super) struct ClaimRequest {
    pub(super) worker: String,
    pub(super) kinds: Vec<&'static str>,
    pub(super) lease: Duration,
    pub(super) node: Option<Uuid>,
    pub(super) capabilities: Vec<String>,
}

impl ClaimRequest {
    /// Worker, kinds, seconds of the lease, node and capabilities, in this order.
    fn parameters<'a>(&'a self, lease: &'a f64) -> Vec<Parameter<'a>> {
        vec![
            (&self.worker, Type::TEXT),
            (&self.kinds, Type::TEXT_ARRAY),
            (lease, Type::FLOAT8),
            (&self.node, Type::UUID),
            (&self.capabilities, Type::TEXT_ARRAY),
        ]
    }
}

/// The calls of the queue, over one connection.
pub(super) struct Database(Connection);

impl Database {
    pub(super) fn new(server: &Server) -> Self {
        Self(Connection::new(server))
    }

    /// Claims up to `max` jobs.
    pub(super) async fn claim(&self, request: &ClaimRequest, max: usize) -> Result<Vec<Job>, QueueError> {
        let sql = "SELECT job_id, kind, payload, attempt FROM nebula.claim_jobs(
                     worker => $1, kinds => $2, lease => make_interval(secs => $3), node_id => $4,
                     capabilities => $5, max => $6)";
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let lease = request.lease.as_secs_f64();
        let mut parameters = request.parameters(&lease);
        parameters.push((&max, Type::INT4));
        let rows = self.query(sql, &parameters).await?;
        rows.iter().map(job_from_row).collect::<Result<_, _>>().map_err(QueueError::from)
    }

    /// Renews the lease and reports progress.
    pub(super) async fn heartbeat(&self, job: &Job, report: &Report) -> Result<HeartbeatReply, QueueError> {
        let sql = "SELECT nebula.heartbeat_job($1, $2, $3, $4)";
        let parameters: [Parameter; 4] = [
            (&job.id, Type::INT8),
            (&job.attempt, Type::INT4),
            (&report.progress, Type::FLOAT4),
            (&report.detail, Type::JSONB),
        ];
        let reply = first_text(&self.query(sql, &parameters).await?);
        Ok(if reply == "cancel" { HeartbeatReply::Cancel } else { HeartbeatReply::Continue })
    }

    /// Records what was made, finishes the job and claims the next, all in one commit. `next` is `None` when
    /// no more work is request.
    pub(super) async fn finish(
        &self,
        job: &Job,
        outcome: &Outcome,
        next: Option<&ClaimRequest>,
    ) -> Result<Option<Job>, QueueError> {
        let mut call = self.0.begin().await?;
        let outcome = timeout_at(call.deadline, commit(&mut call.client, job, outcome, next)).await;
        call.end(outcome)
    }

    /// Fails the attempt; returns the new state of the job.
    pub(super) async fn fail(&self, job: &Job, error: &str, retryable: bool) -> Result<String, QueueError> {
        let error = storable(error);
        let sql = "SELECT nebula.fail_job($1, $2, $3, $4)";
        let parameters: [Parameter; 4] = [
            (&job.id, Type::INT8),
            (&job.attempt, Type::INT4),
            (&error, Type::TEXT),
            (&retryable, Type::BOOL),
        ];
        Ok(first_text(&self.query(sql, &parameters).await?))
    }

    /// Makes the job available to other workers at once, without counting a failure; returns its new state.
    pub(super) async fn hand_back(&self, job: &Job, reason: Option<&str>) -> Result<String, QueueError> {
        let parameters: [Parameter; 3] =
            [(&job.id, Type::INT8), (&job.attempt, Type::INT4), (&reason, Type::TEXT)];
        Ok(first_text(&self.query("SELECT nebula.hand_back_job($1, $2, $3)", &parameters).await?))
    }

    /// Makes the job wait for `delay` without counting a failure, and says why; returns its new state.
    pub(super) async fn postpone(
        &self,
        job: &Job,
        delay: Duration,
        reason: &str,
    ) -> Result<String, QueueError> {
        let sql = "SELECT nebula.postpone_job($1, $2, make_interval(secs => $3), $4)";
        let (delay, reason) = (delay.as_secs_f64(), storable(reason));
        let parameters: [Parameter; 4] = [
            (&job.id, Type::INT8),
            (&job.attempt, Type::INT4),
            (&delay, Type::FLOAT8),
            (&reason, Type::TEXT),
        ];
        Ok(first_text(&self.query(sql, &parameters).await?))
    }

    /// Takes back a job whose lease ran out while nobody could renew it, unless another attempt has begun or
    /// it is finished; returns whether this attempt has the lease again.
    pub(super) async fn reclaim(&self, job: &Job, claim: &ClaimRequest) -> Result<bool, QueueError> {
        let sql = "SELECT nebula.reclaim_job($1, $2, $3, make_interval(secs => $4))";
        let lease = claim.lease.as_secs_f64();
        let parameters: [Parameter; 4] = [
            (&job.id, Type::INT8),
            (&job.attempt, Type::INT4),
            (&claim.worker, Type::TEXT),
            (&lease, Type::FLOAT8),
        ];
        let rows = self.query(sql, &parameters).await?;
        Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }

    /// Records that a part of the system has another state, unless that is the last one on record.
    pub(super) async fn record_state(
        &self,
        part: &str,
        state: &str,
        detail: &Value,
    ) -> Result<(), QueueError> {
        let parameters: [Parameter; 3] = [(&part, Type::TEXT), (&state, Type::TEXT), (&detail, Type::JSONB)];
        self.query("SELECT nebula.record_state($1, $2, $3)", &parameters).await.map(drop)
    }

    /// Asks for nothing but an answer.
    pub(super) async fn ping(&self) -> Result<(), QueueError> {
        self.query("SELECT", &[]).await.map(drop)
    }

    async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, QueueError> {
        let call = self.0.begin().await?;
        let outcome = timeout_at(call.deadline, call.client.query_typed(sql, parameters)).await;
        call.end(outcome)
    }
}

impl JobRows for Database {
    fn record<'a>(&'a self, job: &'a Job, record: &'a dyn Record) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let mut call = self.0.begin().await?;
            let write = async {
                let transaction = call.client.transaction().await?;
                record.write(job, &transaction).await?;
                transaction.commit().await
            };
            let outcome = timeout_at(call.deadline, write).await;
            call.end(outcome)
        })
    }

    fn read<'a>(
        &'a self,
        sql: &'a str,
        parameters: &'a [Parameter<'a>],
    ) -> BoxFuture<'a, Result<Vec<Row>, QueueError>> {
        Box::pin(self.query(sql, parameters))
    }
}

/// Writes the record, if there is one, and finishes the job in the same transaction.
async fn commit(
    client: &mut Client,
    job: &Job,
    outcome: &Outcome,
    next: Option<&ClaimRequest>,
) -> Result<Option<Job>, tokio_postgres::Error> {
    let Some(record) = &outcome.record else { return finish(client, job, outcome, next).await };
    // Asked for, because the database may have another default.
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    record.write(job, &transaction).await?;
    let claimed = finish(&transaction, job, outcome, next).await?;
    transaction.commit().await?;
    Ok(claimed)
}

/// Finishes a job on a connection or in a transaction, and claims the next one if asked to.
async fn finish(
    client: &(impl GenericClient + Sync),
    job: &Job,
    outcome: &Outcome,
    next: Option<&ClaimRequest>,
) -> Result<Option<Job>, tokio_postgres::Error> {
    let mut parameters: Vec<Parameter> =
        vec![(&job.id, Type::INT8), (&job.attempt, Type::INT4), (&outcome.result, Type::JSONB)];
    let Some(next) = next else {
        client.query_typed("SELECT nebula.complete_job($1, $2, $3)", &parameters).await?;
        return Ok(None);
    };
    let sql = "SELECT job_id, kind, payload, attempt FROM nebula.finish_and_claim(
                 job_id => $1, attempt => $2, result => $3, worker => $4, kinds => $5,
                 lease => make_interval(secs => $6), node_id => $7, capabilities => $8, max => 1)";
    let lease = next.lease.as_secs_f64();
    parameters.extend(next.parameters(&lease));
    client.query_typed(sql, &parameters).await?.first().map(job_from_row).transpose()
}

fn job_from_row(row: &Row) -> Result<Job, tokio_postgres::Error> {
    let FreeJson(payload) = row.try_get(2)?;
    Ok(Job { id: row.try_get(0)?, kind: row.try_get(1)?, payload, attempt: row.try_get(3)? })
}

/// A text for people as the database can store it: the type text cannot hold NUL, and the length is limited
/// to what a person would read.
fn storable(text: &str) -> String {
    text.chars().filter(|letter| *letter != '\0').take(4_000).collect()
}

/// The first column of the first row.
fn first_text(rows: &[Row]) -> String {
    rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default()
}
