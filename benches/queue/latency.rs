//! Time from enqueueing until a sleeping worker has claimed the job.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use super::Queue;
use crate::harness::Harness;

/// A job's identifier and the time of its claim.
type Started = (i64, Instant);

/// Prints the table.
pub(super) async fn run(harness: &Harness) -> Result<()> {
    println!("\n## Enqueue to start with sleeping workers (aim p50 1.5 ms, p99 8 ms)\n");
    println!("| | p50 | p99 | longest |\n|---|---|---|---|");
    let [nebula, bare] = Queue::all(harness).await?;
    let claim = "SELECT job_id FROM nebula.claim_jobs('latency', '{bench}')";
    let enqueue = "SELECT nebula.enqueue_job('bench', '{}')";
    let bare_enqueue = "WITH made AS (INSERT INTO baseline.job (payload) VALUES ('{}') RETURNING id)
                        SELECT id FROM made, pg_notify('nebula_job', 'bench')";
    for workers in [1, 8] {
        row(&nebula, workers, enqueue, claim).await?;
        row(&bare, workers, bare_enqueue, include_str!("../baselines/queue/claim.sql")).await?;
    }
    Ok(())
}

async fn row(queue: &Queue<'_>, workers: usize, enqueue: &str, claim: &'static str) -> Result<()> {
    queue.prepare(0).await?;
    let (sender, mut started) = unbounded_channel();
    let mut asleep = Vec::new();
    for _ in 0..workers {
        asleep.push(worker(queue, claim, sender.clone()).await?);
    }
    let enqueue = queue.client.prepare(enqueue).await?;
    let mut times = Vec::new();
    for number in 0..queue.harness.settings.seconds * 100 {
        // Uneven pauses, so that the measurement does not coincide with a period of the server.
        tokio::time::sleep(Duration::from_millis(u64::from(10 + number % 7))).await;
        let begun = Instant::now();
        let job = queue.client.query_one(&enqueue, &[]).await?.get(0);
        times.push(start_of(job, &mut started).await?.duration_since(begun));
    }
    asleep.iter().for_each(tokio::task::JoinHandle::abort);
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "| {}, {workers} {} | {:.2} ms | {:.2} ms | {:.2} ms |",
        queue.sql.name,
        if workers == 1 { "worker" } else { "workers" },
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// The time at which a worker claimed this job.
async fn start_of(job: i64, started: &mut UnboundedReceiver<Started>) -> Result<Instant> {
    loop {
        let (other, at) = started.recv().await.context("all workers have ended")?;
        if other == job {
            return Ok(at);
        }
    }
}

/// A worker that listens, claims until the queue is empty, and sleeps.
async fn worker(
    queue: &Queue<'_>,
    claim: &'static str,
    sender: UnboundedSender<Started>,
) -> Result<tokio::task::JoinHandle<Result<()>>> {
    let config: Config = queue.database.url().parse()?;
    let (client, mut connection) = config.connect(NoTls).await?;
    let wake = Arc::new(Notify::new());
    let woken = wake.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message {
                wake.notify_one();
            }
        }
    });
    client.batch_execute("LISTEN nebula_job").await?;
    let claim = client.prepare(claim).await?;
    Ok(tokio::spawn(async move {
        loop {
            woken.notified().await;
            take_all(&client, &claim, &sender).await?;
        }
    }))
}

async fn take_all(
    client: &Client,
    claim: &tokio_postgres::Statement,
    sender: &UnboundedSender<Started>,
) -> Result<()> {
    while let Some(row) = client.query_opt(claim, &[]).await? {
        sender.send((row.get(0), Instant::now()))?;
    }
    Ok(())
}
