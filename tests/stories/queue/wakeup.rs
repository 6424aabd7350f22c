//! The model's steps with real backends, each held while the others go on: a sleeping worker is notified of a
//! job, and one that listens too late sees the job in its claim.

use std::collections::BTreeSet;
use std::future::poll_fn;

use anyhow::{Context, Result, ensure};
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::session::pid;
use nebula_tests::{EVENT_TIMEOUT, eventually};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use super::{claim, cluster_with_worker, enqueue, notifier};

/// There is no such standby, so a commit that waits for it is held between durable and visible; all other
/// sessions commit locally.
const HOLDABLE: [&str; 3] =
    ["synchronous_standby_names = 'nobody'", "synchronous_commit = local", "max_prepared_transactions = 10"];

/// A session that collects its notifications.
pub(super) struct SleepingWorker {
    client: Client,
    heard: UnboundedReceiver<String>,
}

impl SleepingWorker {
    async fn connect(database: &Database) -> Result<Self> {
        let config: Config = database.url().parse()?;
        let (client, mut connection) = config.connect(NoTls).await?;
        let (sender, heard) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    // The receiver is gone.
                    drop(sender.send(notification.payload().to_owned()));
                }
            }
        });
        Ok(Self { client, heard })
    }

    /// A session that listens and has found no job: asleep.
    pub(super) async fn asleep(database: &Database, kind: &str) -> Result<Self> {
        let sleeper = Self::connect(database).await?;
        sleeper.client.batch_execute("LISTEN nebula_job").await?;
        ensure!(claim(&sleeper.client, kind, 1).await?.is_empty(), "there is no {kind} job yet");
        Ok(sleeper)
    }

    pub(super) async fn hears(&mut self, kind: &str) -> Result<()> {
        let heard = timeout(EVENT_TIMEOUT, async {
            while let Some(heard) = self.heard.recv().await {
                if heard == kind {
                    return Ok(());
                }
            }
            anyhow::bail!("the session has ended")
        });
        heard.await.with_context(|| format!("no notification of {kind}"))?
    }

    /// Wakes up and takes the job.
    async fn takes(&mut self, kind: &str, job: i64) -> Result<()> {
        self.hears(kind).await?;
        let claimed = claim(&self.client, kind, 1).await?;
        ensure!(claimed.first().map(|(id, _)| *id) == Some(job), "job {job} of {kind}, got {claimed:?}");
        Ok(())
    }
}

async fn before_the_commit(database: &Database) -> Result<()> {
    let mut enqueuer = database.connect().await?;
    let held = enqueuer.transaction().await?;
    let job = enqueue(&held, "held.before").await?;
    let mut worker = SleepingWorker::asleep(database, "held.before").await?;
    held.commit().await?;
    worker.takes("held.before", job).await
}

async fn inside_the_commit(database: &Database) -> Result<()> {
    let enqueuer = database.connect().await?;
    enqueuer.batch_execute("SET synchronous_commit = on").await?;
    let pid = pid(&enqueuer).await?;
    let committing = tokio::spawn(async move { enqueue(&enqueuer, "held.inside").await });
    let observer = database.connect().await?;
    eventually("the commit to wait for a standby", || async {
        let waits = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
        Ok(observer.query_opt(waits, &[&pid]).await?.map(drop))
    })
    .await?;
    // The commit is durable but not visible.
    let mut worker = SleepingWorker::asleep(database, "held.inside").await?;
    observer.execute("SELECT pg_cancel_backend($1)", &[&pid]).await?;
    let job = committing.await??;
    worker.takes("held.inside", job).await
}

/// A rollback, also to a savepoint, sends no notification.
async fn aborted(database: &Database) -> Result<()> {
    let mut worker = SleepingWorker::asleep(database, "abort.b").await?;
    let mut enqueuer = database.connect().await?;
    let gone = enqueuer.transaction().await?;
    enqueue(&gone, "abort.a").await?;
    gone.rollback().await?;
    let mut kept = enqueuer.transaction().await?;
    let savepoint = kept.savepoint("a").await?;
    enqueue(&savepoint, "abort.a").await?;
    savepoint.rollback().await?;
    let job = enqueue(&kept, "abort.b").await?;
    kept.commit().await?;
    // A second round, so that all notifications of the first have arrived.
    let mut heard = BTreeSet::new();
    enqueue(&enqueuer, "abort.c").await?;
    while !heard.contains("abort.c") {
        heard.insert(timeout(EVENT_TIMEOUT, worker.heard.recv()).await?.context("the session has ended")?);
    }
    ensure!(heard == BTreeSet::from(["abort.b".to_owned(), "abort.c".to_owned()]), "heard {heard:?}");
    ensure!(claim(&worker.client, "abort.b", 1).await?[0].0 == job, "the job that was kept");
    Ok(())
}

/// The worker is held: in the middle of LISTEN, and between listening and looking.
async fn while_the_worker_is_held(database: &Database) -> Result<()> {
    let enqueuer = database.connect().await?;
    let worker = SleepingWorker::connect(database).await?;
    worker.client.batch_execute("BEGIN; LISTEN nebula_job").await?;
    let job = enqueue(&enqueuer, "held.listen").await?;
    worker.client.batch_execute("COMMIT").await?;
    ensure!(claim(&worker.client, "held.listen", 1).await?[0].0 == job, "heard or not, it is seen");
    let mut worker = SleepingWorker::connect(database).await?;
    worker.client.batch_execute("LISTEN nebula_job").await?;
    let job = enqueue(&enqueuer, "held.look").await?;
    worker.takes("held.look", job).await
}

/// Retries, released children and restored jobs notify as enqueued ones do.
async fn whatever_becomes_available(database: &Database) -> Result<()> {
    let client = database.connect().await?;
    let parent = enqueue(&client, "free.parent").await?;
    let attempt = claim(&client, "free.parent", 1).await?[0].1;
    let child = "SELECT nebula.enqueue_job('free.child', '{}', depends_on => ARRAY[$1::bigint])";
    let child: i64 = client.query_one(child, &[&parent]).await?.get(0);
    let mut worker = SleepingWorker::asleep(database, "free.child").await?;
    client.execute("SELECT nebula.complete_job($1, $2)", &[&parent, &attempt]).await?;
    worker.takes("free.child", child).await?;
    client.execute("SELECT nebula.fail_job($1, 1, 'story', false)", &[&child]).await?;
    client.execute("SELECT nebula.retry_job($1)", &[&child]).await?;
    worker.takes("free.child", child).await?;
    let back = "SELECT nebula.hand_back_job(job_id, attempt) FROM nebula.job_running WHERE job_id = $1";
    client.execute(back, &[&child]).await?;
    worker.takes("free.child", child).await
}

fn send(pid: i32, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("pid 0")?, signal)?)
}

/// The notifier is stopped, then killed: marks stay set.
async fn while_the_notifier_is_held(database: &Database) -> Result<()> {
    let client = database.connect().await?;
    let pid = notifier(&client).await?;
    let mut sleeper = SleepingWorker::asleep(database, "held.notifier").await?;
    send(pid, Signal::STOP)?;
    let job = enqueue(&client, "held.notifier").await?;
    let late = SleepingWorker::connect(database).await?;
    late.client.batch_execute("LISTEN nebula_job").await?;
    ensure!(claim(&late.client, "held.notifier", 1).await?[0].0 == job, "who listens too late looks");
    ensure!(sleeper.heard.try_recv().is_err(), "the enqueuer's own transaction notifies nobody");
    let job = enqueue(&client, "held.notifier").await?;
    send(pid, Signal::CONT)?;
    sleeper.takes("held.notifier", job).await?;

    send(pid, Signal::STOP)?;
    let job = enqueue(&client, "held.notifier").await?;
    client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await?;
    send(pid, Signal::CONT)?;
    sleeper.takes("held.notifier", job).await?;
    ensure!(notifier(&client).await? != pid, "the server has started another notifier");
    Ok(())
}

/// COMMIT PREPARED by another session than the one that enqueued, after the latter has disconnected.
async fn prepared(database: &Database) -> Result<()> {
    let mut worker = SleepingWorker::asleep(database, "prepared").await?;
    let enqueuer = database.connect().await?;
    enqueuer.batch_execute("BEGIN").await?;
    let job = enqueue(&enqueuer, "prepared").await?;
    enqueuer.batch_execute("PREPARE TRANSACTION 'queue'").await?;
    drop(enqueuer);
    ensure!(claim(&worker.client, "prepared", 1).await?.is_empty(), "it is not committed yet");
    database.connect().await?.batch_execute("COMMIT PREPARED 'queue'").await?;
    worker.takes("prepared", job).await
}

async fn nobody_sleeps_through(preload: bool) -> Result<(Cluster, Database)> {
    let (cluster, database) = cluster_with_worker(preload, &HOLDABLE).await?;
    before_the_commit(&database).await.context("held before the commit")?;
    inside_the_commit(&database).await.context("held inside the commit")?;
    aborted(&database).await.context("aborted")?;
    while_the_worker_is_held(&database).await.context("the worker held")?;
    whatever_becomes_available(&database).await.context("other ways to become available")?;
    Ok((cluster, database))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_wakes_a_sleeping_worker_without_preloading() -> Result<()> {
    nobody_sleeps_through(false).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_wakes_a_sleeping_worker_with_the_extension_preloaded() -> Result<()> {
    let (_cluster, database) = nobody_sleeps_through(true).await?;
    while_the_notifier_is_held(&database).await.context("the notifier held")?;
    prepared(&database).await.context("prepared")
}
