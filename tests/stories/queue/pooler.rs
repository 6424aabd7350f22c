//! Behind pgbouncer in transaction mode each transaction may run in another server session: notifications do
//! not arrive, and prepared statements do not survive. Workers poll, and no job is lost.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::{Database, free_port};
use nebula_tests::eventually;
use nebula_tests::process::Process;
use nebula_tests::scratch::Scratch;
use rustix::process::geteuid;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::cluster_with_worker;

const PROGRAM: &str = "/usr/sbin/pgbouncer";
const WORKERS: usize = 2;
const CLIENTS: usize = 6;
const JOBS: usize = 25;
const LEDGER: &str =
    "CREATE TABLE public.ledger (job_id bigint NOT NULL, attempt integer NOT NULL, worker text NOT NULL);
     GRANT INSERT ON public.ledger TO nebula_worker";

/// A pooler with two server sessions for each role.
struct Pooler {
    folder: Scratch,
    port: u16,
    _process: Process,
}

impl Pooler {
    async fn start(database: &Database) -> Result<Self> {
        ensure!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing: run make setup");
        let folder = Scratch::new("pooler")?;
        let (users, file) = (folder.path().join("users"), folder.path().join("pgbouncer.ini"));
        let server: Config = database.url().parse()?;
        let port = free_port()?;
        fs::write(&users, "\"postgres\" \"\"\n\"nebula_worker\" \"\"\n")?;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 2\n\
             max_client_conn = 100\n",
            server.get_ports()[0],
            users.display()
        );
        fs::write(&file, settings)?;
        let user = geteuid().is_root().then_some("postgres");
        if let Some(user) = user {
            let own = std::process::Command::new("chown").arg("-R").arg(user).arg(folder.path()).status()?;
            ensure!(own.success(), "cannot give the pooler its folder");
        }
        let log = folder.path().join("log");
        let process = Process::start(PROGRAM.as_ref(), &log, "KILL", user, |command| {
            command.arg(&file);
        })?;
        let pooler = Self { folder, port, _process: process };
        eventually("the pooler to answer", || async { Ok(pooler.connect(database).await.ok()) })
            .await
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(pooler)
    }

    fn url(&self, database: &Database, role: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{}", self.port, database.name())
    }

    async fn connect(&self, database: &Database) -> Result<Client> {
        let config: Config = self.url(database, "postgres").parse()?;
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn hire(&self, database: &Database, name: &str) -> Result<Process> {
        let program = env!("CARGO_BIN_EXE_ledger-worker");
        Process::start(program.as_ref(), &self.folder.path().join("workers.log"), "KILL", None, |command| {
            command.arg(name).arg(self.url(database, "nebula_worker"));
        })
    }
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
    let pooler = Arc::new(Pooler::start(&database).await?);
    let _workers: Vec<Process> =
        (0..WORKERS).map(|n| pooler.hire(&database, &format!("pooled {n}"))).collect::<Result<_>>()?;
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
