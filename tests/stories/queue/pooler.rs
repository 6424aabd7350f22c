//! Behind pgbouncer in transaction mode each transaction may run in another server session: notifications do
//! not arrive, and prepared statements do not survive. Workers poll, and no job is lost.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::Database;
use nebula_tests::eventually;
use nebula_tests::pooler::Pooler;
use nebula_tests::process::Process;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::cluster_with_worker;

const WORKERS: usize = 2;
const CLIENTS: usize = 6;
const JOBS: usize = 25;
const LEDGER: &str =
    "CREATE TABLE public.ledger (job_id bigint NOT NULL, attempt integer NOT NULL, worker text NOT NULL);
     GRANT INSERT ON public.ledger TO nebula_worker";

fn hire(pooler: &Pooler, database: &Database, name: &str) -> Result<Process> {
    let program = env!("CARGO_BIN_EXE_ledger-worker");
    Process::start(program.as_ref(), &pooler.path("workers.log"), "KILL", None, |command| {
        command.arg(name).arg(pooler.url(database, "nebula_worker"));
    })
}

/// Enqueues without prepared statements; every other job in a transaction with further statements.
async fn enqueue(client: Client) -> Result<Vec<i64>> {
    let sql = "SELECT nebula.enqueue_job('ledger', '{\"ms\": 5}', max_attempts => 1000)";
    let mut jobs = Vec::new();
    for round in 0..JOBS {
        if round % 2 == 0 {
            client.simple_query("BEGIN").await?;
        }
        let answer = client.simple_query(sql).await?;
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        for job in rows {
            jobs.push(job.parse()?);
        }
        if round % 2 == 0 {
            client.simple_query("SELECT count(*) FROM nebula.job_status; COMMIT").await?;
        }
    }
    Ok(jobs)
}

async fn no_job_is_lost(preload: bool) -> Result<()> {
    let (cluster, database) = cluster_with_worker(preload, &[]).await?;
    let direct = database.connect().await?;
    direct.batch_execute(LEDGER).await?;
    let pooler = Arc::new(Pooler::start(&database, "transaction").await?);
    let _workers: Vec<Process> =
        (0..WORKERS).map(|n| hire(&pooler, &database, &format!("pooled {n}"))).collect::<Result<_>>()?;
    let clients = (0..CLIENTS).map(|_| {
        let (pooler, database) = (Arc::clone(&pooler), database.clone());
        tokio::spawn(async move { enqueue(pooler.connect(&database).await?).await })
    });
    let told: Vec<i64> = try_join_all(clients).await?.into_iter().collect::<Result<Vec<_>>>()?.concat();
    ensure!(told.len() == CLIENTS * JOBS, "{} jobs were enqueued", told.len());
    let left = "SELECT count(*) FROM nebula.job_status WHERE state <> 'succeeded'";
    let finished = || async {
        let left: i64 = direct.query_one(left, &[]).await?.get(0);
        Ok((left == 0).then_some(()))
    };
    eventually("all jobs to succeed", finished).await?;
    // All workers are idle, and no notification of the next job reaches them.
    let late = enqueue(pooler.connect(&database).await?).await?;
    eventually("jobs to be found by the poll", finished).await?;
    let ledger = direct.query("SELECT job_id FROM public.ledger", &[]).await?;
    let done: HashSet<i64> = ledger.iter().map(|row| row.get(0)).collect();
    ensure!(done.len() == ledger.len(), "a job was done twice");
    ensure!(told.iter().chain(&late).all(|job| done.contains(job)), "a job was lost");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'nebula_worker'";
    let sessions: i64 = direct.query_one(sessions, &[]).await?.get(0);
    ensure!((1..=2).contains(&sessions), "{sessions} sessions for {WORKERS} workers: nothing was pooled");
    let complaint =
        cluster.log()?.lines().find(|line| line.contains("prepared statement")).map(str::to_owned);
    ensure!(complaint.is_none(), "a session was taken for another: {complaint:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_job_is_lost_with_the_extension_preloaded() -> Result<()> {
    no_job_is_lost(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_job_is_lost_without_preloading() -> Result<()> {
    no_job_is_lost(false).await
}
