//! The worker library on a real queue: woken without a poll, reconnected after an outage, drained, fenced,
//! and not brought down by a panic in a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use nebula_connect::Server;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::scratch::Scratch;
use nebula_tests::{EVENT_TIMEOUT, eventually};
use nebula_worker::queue::{Context, Failure, Handler, Job, Outcome, Registry, Runner, Stop};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{becomes, state};

const KIND: &str = "story";
/// Kinds that have a slot each beside those of [`KIND`].
const BESIDE: [&str; 2] = ["story-long", "story-longer"];

/// Does what the payload says and reports each step.
struct Actor(UnboundedSender<(i64, String)>);

impl Handler for Actor {
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
        let tell = move |what: String| drop(self.0.send((job.id, what)));
        async move {
            match job.payload.as_str() {
                Some("panic") => panic!("on stage"),
                Some("wait") => {
                    context.report(0.25, json!({"stage": "waiting"}));
                    tell("begun".into());
                    let reason = context.stopped().await;
                    tell(format!("{reason:?}"));
                    // The handler does not know that its lease is lost: its write must be refused.
                    if reason == Stop::LeaseLost {
                        return Ok(Outcome::default());
                    }
                    Err(Failure::transient("stopped"))
                }
                _ => {
                    tell("done".into());
                    Ok(Outcome { result: json!("done"), record: None })
                }
            }
        }
        .boxed()
    }
}

/// A worker in this process.
struct Company {
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    told: UnboundedReceiver<(i64, String)>,
}

impl Company {
    /// It polls once an hour, so every timely claim is caused by a wake-up.
    fn hire(database: &Database, name: &str) -> Result<Self> {
        Self::hire_polling(database, name, Duration::from_secs(3600))
    }

    fn hire_polling(database: &Database, name: &str, poll: Duration) -> Result<Self> {
        let url = database.url_as("nebula_worker");
        Self::hire_with(&url, name, |runner| runner.poll = poll)
    }

    fn hire_with(url: &str, name: &str, change: impl FnOnce(&mut Runner)) -> Result<Self> {
        let (sender, told) = unbounded_channel();
        let actor = Arc::new(Actor(sender));
        let mut runner = Runner {
            name: name.into(),
            slots: 1,
            lease: Duration::from_secs(3),
            poll: Duration::from_secs(3600),
            grace: Duration::from_secs(1),
            node: None,
            capabilities: vec!["gpu".into()],
            health_file: None,
            database: Server::parse(url)?,
            listener: Server::parse(url)?,
            registry: Registry::default().with(KIND, actor.clone()),
            beside: BESIDE.map(|kind| Registry::default().with(kind, actor.clone())).into(),
            pause: watch::channel(None).1,
        };
        change(&mut runner);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(runner.run(shutdown.clone()));
        Ok(Self { shutdown, running, told })
    }

    /// Waits until the handler reports this of the job.
    async fn tells(&mut self, job: i64, what: &str) -> Result<()> {
        let waiting = async {
            while self.told.recv().await.context("it has stopped")? != (job, what.to_owned()) {}
            anyhow::Ok(())
        };
        timeout(EVENT_TIMEOUT, waiting).await.with_context(|| format!("job {job} is not {what}"))?
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.running.await?)
    }
}

async fn fresh() -> Result<(Database, Client)> {
    let database = Cluster::shared().await?.database().await?;
    let client = database.connect().await?;
    Ok((database, client))
}

async fn enqueue(client: &Client, payload: &str) -> Result<i64> {
    enqueue_as(client, KIND, payload).await
}

async fn enqueue_as(client: &Client, kind: &str, payload: &str) -> Result<i64> {
    let sql = "SELECT nebula.enqueue_job($1, to_jsonb($2::text), max_attempts => 2)";
    Ok(client.query_one(sql, &[&kind, &payload]).await?.get(0))
}

/// Process id of the workers' listening session in this database.
async fn listener(client: &Client) -> Result<i32> {
    eventually("a worker to listen", || async {
        let find =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        Ok(client.query_opt(find, &[]).await?.map(|row| row.get(0)))
    })
    .await
}

/// Waits until the worker's last statement was a claim that found nothing; completing a job is another
/// statement.
async fn asleep(client: &Client) -> Result<()> {
    eventually("the worker to sleep", || async {
        let find = "SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND usename = 'nebula_worker' AND state = 'idle'
                       AND query LIKE '%nebula.claim_jobs(%'";
        Ok(client.query_opt(find, &[]).await?.map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_woken_and_reconnects() -> Result<()> {
    let (database, client) = fresh().await?;
    let mut company = Company::hire(&database, "listener")?;
    let pid = listener(&client).await?;
    let job = enqueue(&client, "").await?;
    company.tells(job, "done").await?;
    becomes(&client, job, "succeeded").await?;
    asleep(&client).await?;
    // Without its listening session it misses a notification, and claims as soon as it listens again.
    client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await?;
    let job = enqueue(&client, "").await?;
    company.tells(job, "done").await?;
    ensure!(listener(&client).await? != pid, "another session listens");
    // A job that needs a capability of this worker, and one that needs another.
    let sql = "SELECT nebula.enqueue_job($1, '{}', capability => $2)";
    let other: i64 = client.query_one(sql, &[&KIND, &"tape"]).await?.get(0);
    let mine: i64 = client.query_one(sql, &[&KIND, &"gpu"]).await?.get(0);
    company.tells(mine, "done").await?;
    ensure!(state(&client, other).await? == "available", "it is left to those who can");
    // One slot, one wake-up, many jobs: each completion claims the next.
    client.batch_execute("BEGIN").await?;
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(enqueue(&client, "").await?);
    }
    client.batch_execute("COMMIT").await?;
    for job in jobs {
        company.tells(job, "done").await?;
        becomes(&client, job, "succeeded").await?;
    }
    company.stop().await
}

/// Notifications do not arrive behind a pooler in transaction mode, or when the server crashed with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_notification_is_found_by_polling() -> Result<()> {
    let (database, client) = fresh().await?;
    let mut company = Company::hire_polling(&database, "poller", Duration::from_millis(300))?;
    asleep(&client).await?;
    let sql = "INSERT INTO nebula.job_waiting (kind, payload) VALUES ($1, '{}') RETURNING job_id";
    let job: i64 = client.query_one(sql, &[&KIND]).await?.get(0);
    company.tells(job, "done").await?;
    company.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_beside_the_slots_wait_for_none_of_the_others() -> Result<()> {
    let (database, client) = fresh().await?;
    let mut company = Company::hire(&database, "w1")?;
    for kind in [KIND, BESIDE[0], BESIDE[1]] {
        let job = enqueue_as(&client, kind, "wait").await?;
        company.tells(job, "begun").await?;
    }
    company.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_attempt() -> Result<()> {
    let (database, client) = fresh().await?;
    let mut company = Company::hire(&database, "panics")?;
    let bad = enqueue(&client, "panic").await?;
    let good = enqueue(&client, "").await?;
    company.tells(good, "done").await?;
    let error = eventually("the panic to be recorded", || async {
        let sql = "SELECT errors -> 0 ->> 'error' FROM nebula.job_status WHERE job_id = $1";
        Ok(client.query_one(sql, &[&bad]).await?.get::<_, Option<String>>(0))
    })
    .await?;
    assert_eq!(error, "the handler panicked: on stage");
    company.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_hands_its_job_back_at_once() -> Result<()> {
    let (database, client) = fresh().await?;
    let mut first = Company::hire(&database, "first")?;
    let job = enqueue(&client, "wait").await?;
    first.tells(job, "begun").await?;
    let mut second = Company::hire(&database, "second")?;
    // Its slot is filled first, so that its next job is the one that was handed back.
    let other = enqueue(&client, "wait").await?;
    second.tells(other, "begun").await?;
    client.execute("SELECT nebula.cancel_job($1)", &[&other]).await?;
    second.tells(other, "Cancelled").await?;
    becomes(&client, other, "cancelled").await?;
    first.shutdown.cancel();
    first.tells(job, "Stopping").await?;
    second.tells(job, "begun").await?;
    let row =
        "SELECT state, attempt, errors::text, worker, progress FROM nebula.job_status WHERE job_id = $1";
    let row = client.query_one(row, &[&job]).await?;
    let (attempt, errors, worker): (i32, &str, &str) = (row.get(1), row.get(2), row.get(3));
    assert_eq!((row.get::<_, &str>(0), attempt, worker), ("running", 2, "second"));
    assert_eq!(errors, "[]", "a stop is no failure");
    first.running.await?;
    client.execute("SELECT nebula.cancel_job($1)", &[&job]).await?;
    second.tells(job, "Cancelled").await?;
    second.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_stops_the_handler_and_its_completion_is_refused() -> Result<()> {
    let (database, client) = fresh().await?;
    let mut company = Company::hire(&database, "slow")?;
    // One attempt only, so that a retry does not take the slot.
    let sql = "SELECT nebula.enqueue_job($1, '\"wait\"', max_attempts => 1)";
    let job: i64 = client.query_one(sql, &[&KIND]).await?.get(0);
    company.tells(job, "begun").await?;
    // As if the worker had missed its heartbeats.
    let steal = "UPDATE nebula.job_running SET lease_until = now() - interval '1 s' WHERE job_id = $1";
    client.execute(steal, &[&job]).await?;
    client.execute("SELECT nebula.rescue_jobs()", &[]).await?;
    becomes(&client, job, "dead").await?;
    company.tells(job, "LeaseLost").await?;
    // There is one slot: once the next job is done, the late completion has been sent.
    let next = enqueue(&client, "").await?;
    company.tells(next, "done").await?;
    ensure!(state(&client, job).await? == "dead", "its late word counts for nothing");
    company.stop().await
}

/// Passes connections on to a database until it is cut off, and counts those that are tried from then on.
struct Line {
    port: u16,
    cut: CancellationToken,
    refused: Arc<AtomicUsize>,
}

impl Line {
    async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let line = Self {
            port: listener.local_addr()?.port(),
            cut: CancellationToken::new(),
            refused: Arc::new(AtomicUsize::new(0)),
        };
        let (cut, refused) = (line.cut.clone(), line.refused.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if cut.is_cancelled() {
                    refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let cut = cut.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = cut.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await;
                });
            }
        });
        Ok(line)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_worker_is_healthy_as_long_as_the_database_answers() -> Result<()> {
    let (database, client) = fresh().await?;
    let port: i32 = client.query_one("SELECT inet_server_port()", &[]).await?.get(0);
    let line = Line::to(port.try_into()?).await?;
    let folder = Scratch::new("health")?;
    let health = folder.path().join("healthy");
    let url = format!("postgresql://nebula_worker@127.0.0.1:{}/{}", line.port, database.name());
    // Kept: without its sender the pause would never change again.
    let (_pause, paused) = watch::channel(Some("too hot".to_owned()));
    let direct = Server::parse(&database.url_as("nebula_worker"))?;
    let company = Company::hire_with(&url, "paused", |runner| {
        runner.poll = Duration::from_millis(50);
        runner.pause = paused;
        runner.listener = direct;
        runner.health_file = Some(health.clone());
    })?;
    for _ in 0..2 {
        eventually("the health file", || async { Ok(health.exists().then_some(())) }).await?;
        std::fs::remove_file(&health)?;
    }
    line.cut.cancel();
    let tried = || line.refused.load(Ordering::Relaxed);
    // An answer that was under way may have come.
    eventually("the worker to find the database gone", || async { Ok((tried() >= 2).then_some(())) }).await?;
    drop(std::fs::remove_file(&health));
    let before = tried();
    eventually("it to try again", || async { Ok((tried() >= before + 4).then_some(())) }).await?;
    ensure!(!health.exists(), "without the database a paused worker is not healthy");
    company.stop().await
}
