//! kill -9 of workers, backends and the postmaster at random moments: every job succeeds exactly once.
//!
//! Each worker inserts into a ledger in the commit that completes a job, so ledger and queue must agree.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::process::Process;
use nebula_tests::scratch::Scratch;
use nebula_tests::{eventually, rounds};
use rustix::process::Signal;
use tokio_postgres::Client;

use super::cluster_with_worker;

const WORKERS: usize = 3;
const ENQUEUERS: usize = 3;
const LEDGER: &str =
    "CREATE TABLE public.ledger (job_id bigint NOT NULL, attempt integer NOT NULL, worker text NOT NULL);
                      GRANT INSERT ON public.ledger TO nebula_worker";

/// The workers, and where they log.
struct Crew {
    database: Database,
    folder: Scratch,
    workers: Vec<Process>,
    hired: usize,
}

impl Crew {
    fn hire(&mut self) -> Result<()> {
        self.hired += 1;
        let name = format!("worker {}", self.hired);
        let log = self.folder.path().join("workers.log");
        let url = self.database.url_as("nebula_worker");
        let program = env!("CARGO_BIN_EXE_ledger-worker");
        let worker = Process::start(program.as_ref(), &log, "KILL", None, |command| {
            command.arg(name).arg(url);
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Ends a random worker, by SIGTERM or SIGKILL, and starts another.
    fn replace(&mut self, politely: bool) -> Result<()> {
        let mut worker = self.workers.swap_remove(rand::random_range(0..self.workers.len()));
        if politely {
            worker.signal(Signal::TERM)?;
            ensure!(worker.wait()? == Some(0), "a worker that is asked to stop stops");
        } else {
            worker.kill()?;
        }
        self.hire()
    }
}

/// Enqueues through every crash until it is told to stop; records the jobs whose enqueuing was confirmed.
async fn enqueue(database: Database, stop: Arc<AtomicBool>, told: Arc<Mutex<Vec<i64>>>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(client) = database.connect().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let ms = rand::random_range(0..40);
            let sql =
                format!("SELECT nebula.enqueue_job('ledger', '{{\"ms\": {ms}}}', max_attempts => 1000)");
            let Ok(row) = client.query_one(&sql, &[]).await else { break };
            told.lock().unwrap().push(row.get(0));
            // About as fast as the workers, so that they sleep and are woken as often as they find work.
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..40))).await;
        }
    }
}

/// Kills a random process and answers which.
async fn strike(cluster: &mut Cluster, crew: &mut Crew) -> Result<&'static str> {
    match rand::random_range(0..10) {
        0..4 => crew.replace(false).map(|()| "a worker"),
        4..6 => crew.replace(true).map(|()| "a worker, politely"),
        6..8 => {
            let observer = crew.database.connect().await?;
            let any =
                "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
            let pid = observer.query_one(any, &[]).await?.get(0);
            if !cluster.kill_backend(pid)? {
                return Ok("nothing, it had ended by itself");
            }
            eventually("the server to notice", || async {
                Ok(observer.simple_query("SELECT").await.is_err().then_some(()))
            })
            .await?;
            cluster.answers().await?;
            Ok("one server process")
        }
        _ => {
            cluster.crash().await?;
            cluster.resume().await?;
            Ok("the whole server")
        }
    }
}

async fn done(client: &Client) -> Result<i64> {
    Ok(client.query_one("SELECT count(*) FROM public.ledger", &[]).await?.get(0))
}

async fn every_job_succeeds_once(preload: bool) -> Result<()> {
    let (mut cluster, database) = cluster_with_worker(preload, &[]).await?;
    database.connect().await?.batch_execute(LEDGER).await?;
    let folder = Scratch::new("crew")?;
    let mut crew = Crew { database: database.clone(), folder, workers: Vec::new(), hired: 0 };
    (0..WORKERS).try_for_each(|_| crew.hire())?;
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let enqueuers: Vec<_> =
        (0..ENQUEUERS).map(|_| tokio::spawn(enqueue(database.clone(), stop.clone(), told.clone()))).collect();
    let cycles = rounds(6, 50);
    for cycle in 0..cycles {
        let before = done(&database.connect().await?).await?;
        eventually("work to go on", || async {
            Ok((done(&database.connect().await?).await? > before + 20).then_some(()))
        })
        .await
        .with_context(|| format!("cycle {cycle}"))?;
        // No event to wait for: the crash must come at a random moment.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..200))).await;
        let struck = strike(&mut cluster, &mut crew).await.with_context(|| format!("cycle {cycle}"))?;
        println!("cycle {cycle}: killed {struck}");
    }
    stop.store(true, Ordering::Relaxed);
    for enqueuer in enqueuers {
        enqueuer.await?;
    }
    let client = database.connect().await?;
    let left = "SELECT coalesce(string_agg(format('%s %s %s', job_id, state, errors), E'\\n'), '')
                  FROM nebula.job_status
                 WHERE state <> 'succeeded'";
    let stuck = Mutex::new(String::new());
    eventually("the last job to succeed", || async {
        *stuck.lock().unwrap() = client.query_one(left, &[]).await?.get(0);
        Ok(stuck.lock().unwrap().is_empty().then_some(()))
    })
    .await
    .with_context(|| format!("left over:\n{}", stuck.lock().unwrap()))?;
    let rows = client.query("SELECT job_id, count(*) FROM public.ledger GROUP BY job_id", &[]).await?;
    let twice = rows.iter().find(|row| row.get::<_, i64>(1) != 1);
    ensure!(twice.is_none(), "job {:?} was done twice", twice.map(|row| row.get::<_, i64>(0)));
    let ledger: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let jobs = client.query("SELECT job_id FROM nebula.job_status", &[]).await?;
    let jobs: HashSet<i64> = jobs.iter().map(|row| row.get(0)).collect();
    ensure!(jobs == ledger, "{} jobs succeeded, {} are in the ledger", jobs.len(), ledger.len());
    for job in told.lock().unwrap().iter() {
        ensure!(jobs.contains(job), "job {job} was enqueued and is lost");
    }
    println!("{} jobs, each once, through {cycles} strikes", jobs.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_job_succeeds_once_with_the_extension_preloaded() -> Result<()> {
    every_job_succeeds_once(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_job_succeeds_once_without_preloading() -> Result<()> {
    every_job_succeeds_once(false).await
}
