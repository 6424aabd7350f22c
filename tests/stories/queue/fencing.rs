//! Two sessions on one job, each held while the other acts: which one waits, which one skips the job, which
//! one is told that it is too late.

use anyhow::{Context, Result, ensure};
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::eventually;
use nebula_tests::session::{pid, until_blocked};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{claim, enqueue, state};

const KIND: &str = "fence";

/// A claimed job, two sessions, and an observer.
struct Stage {
    database: Database,
    first: Client,
    watcher: Client,
    job: i64,
}

/// The outcome of a call: success, or its SQLSTATE.
type Said = JoinHandle<Result<(), tokio_postgres::Error>>;

impl Stage {
    async fn set(cluster: &Cluster) -> Result<Self> {
        let database = cluster.database().await?;
        let (first, watcher) = (database.connect().await?, database.connect().await?);
        let job = enqueue(&watcher, KIND).await?;
        ensure!(claim(&watcher, KIND, 1).await? == [(job, 1)], "the job can be claimed");
        Ok(Self { database, first, watcher, job })
    }

    /// The first session begins a transaction with this statement and leaves it open.
    async fn hold(&self, sql: &str) -> Result<()> {
        let sql = sql.replace("$job", &self.job.to_string());
        Ok(self.first.batch_execute(&format!("BEGIN; {sql}")).await?)
    }

    /// A second session completes the job, and must wait for the first.
    async fn complete_meanwhile(&self, many: bool) -> Result<Said> {
        self.meanwhile(if many {
            "SELECT 1 / count(*) FROM nebula.complete_jobs('{$job}', '{1}')"
        } else {
            "SELECT nebula.complete_job($job, 1)"
        })
        .await
    }

    /// A second session runs this statement, and must wait for the first.
    async fn meanwhile(&self, sql: &str) -> Result<Said> {
        let second = self.database.connect().await?;
        let pid = pid(&second).await?;
        let call = sql.replace("$job", &self.job.to_string());
        let said = tokio::spawn(async move { second.batch_execute(&call).await });
        until_blocked(&self.watcher, pid).await?;
        Ok(said)
    }
}

fn code(said: Result<(), tokio_postgres::Error>) -> Result<SqlState> {
    Ok(said.err().context("the call succeeded")?.code().context("no SQLSTATE")?.clone())
}

const HEARTBEAT: &str = "SELECT nebula.heartbeat_job($job, 1, 0.5, '[7]')";
const RESCUE: &str = "UPDATE nebula.job_running SET lease_until = now() - interval '1 s' WHERE job_id = $job;
                      SELECT nebula.rescue_jobs()";

#[tokio::test]
async fn complete_waits_for_a_heartbeat_and_keeps_its_progress() -> Result<()> {
    for cluster in Cluster::both().await? {
        for (many, end) in [(false, "COMMIT"), (true, "COMMIT"), (false, "ROLLBACK")] {
            let stage = Stage::set(cluster).await?;
            stage.hold(HEARTBEAT).await?;
            let said = stage.complete_meanwhile(many).await?;
            stage.first.batch_execute(end).await?;
            said.await?.with_context(|| format!("many: {many}, {end}"))?;
            let detail = "SELECT coalesce(detail::text, 'none') FROM nebula.job_finished WHERE job_id = $1";
            let detail: String = stage.watcher.query_one(detail, &[&stage.job]).await?.get(0);
            ensure!(detail == if end == "COMMIT" { "[7]" } else { "none" }, "{end}: {detail}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn complete_fails_after_a_committed_rescue_only() -> Result<()> {
    for cluster in Cluster::both().await? {
        let stage = Stage::set(cluster).await?;
        stage.hold(RESCUE).await?;
        let said = stage.complete_meanwhile(false).await?;
        stage.first.batch_execute("COMMIT").await?;
        ensure!(code(said.await?)? == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the lease is lost");
        ensure!(state(&stage.watcher, stage.job).await? == "available", "the rescue counts");

        let stage = Stage::set(cluster).await?;
        stage.hold(RESCUE).await?;
        let said = stage.complete_meanwhile(true).await?;
        stage.first.batch_execute("ROLLBACK").await?;
        said.await?.context("the rescue did not happen")?;
        ensure!(state(&stage.watcher, stage.job).await? == "succeeded", "the completion counts");
    }
    Ok(())
}

#[tokio::test]
async fn complete_succeeds_despite_a_cancellation_request() -> Result<()> {
    let stage = Stage::set(Cluster::shared().await?).await?;
    stage.hold("SELECT nebula.cancel_job($job)").await?;
    let said = stage.complete_meanwhile(false).await?;
    stage.first.batch_execute("COMMIT").await?;
    said.await??;
    ensure!(state(&stage.watcher, stage.job).await? == "succeeded", "the work was done");
    Ok(())
}

/// Failing, handing back and heartbeating a job wait for another session's change of it, and then act on the
/// new state.
#[tokio::test]
async fn worker_calls_wait_for_concurrent_changes_of_the_job() -> Result<()> {
    const FAIL: &str = "SELECT nebula.fail_job($job, 1, 'no')";
    const FAIL_FINALLY: &str = "SELECT nebula.fail_job($job, 1, 'no', false)";
    const HAND_BACK: &str = "SELECT nebula.hand_back_job($job, 1)";
    const CANCEL: &str = "SELECT nebula.cancel_job($job)";
    for cluster in Cluster::both().await? {
        for (held, end, word, becomes) in [
            (HEARTBEAT, "COMMIT", FAIL, "available"),
            (HEARTBEAT, "COMMIT", FAIL_FINALLY, "dead"),
            (HEARTBEAT, "ROLLBACK", HAND_BACK, "available"),
            (HEARTBEAT, "COMMIT", HEARTBEAT, "running"),
            // A cancellation that commits meanwhile is seen.
            (CANCEL, "COMMIT", FAIL, "cancelled"),
            (CANCEL, "COMMIT", HAND_BACK, "cancelled"),
            (CANCEL, "ROLLBACK", FAIL, "available"),
            (RESCUE, "ROLLBACK", HEARTBEAT, "running"),
        ] {
            let stage = Stage::set(cluster).await?;
            stage.hold(held).await?;
            let said = stage.meanwhile(word).await?;
            stage.first.batch_execute(end).await?;
            said.await?.with_context(|| format!("{held}; {end}: {word}"))?;
            let is = state(&stage.watcher, stage.job).await?;
            ensure!(is == becomes, "{held}; {end}: {word} made it {is}");
        }
        for word in [FAIL, FAIL_FINALLY, HAND_BACK, HEARTBEAT] {
            let stage = Stage::set(cluster).await?;
            stage.hold(RESCUE).await?;
            let said = stage.meanwhile(word).await?;
            stage.first.batch_execute("COMMIT").await?;
            ensure!(code(said.await?)? == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{word}");
            ensure!(state(&stage.watcher, stage.job).await? == "available", "{word}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn children_enqueued_during_completion_are_released() -> Result<()> {
    let stage = Stage::set(Cluster::shared().await?).await?;
    stage.hold("SELECT nebula.enqueue_job('child', '{}', depends_on => '{$job}')").await?;
    let said = stage.complete_meanwhile(false).await?;
    stage.first.batch_execute("COMMIT").await?;
    said.await??;
    ensure!(claim(&stage.watcher, "child", 1).await?.len() == 1, "the child waits for nobody");
    Ok(())
}

/// A retry of the second dead parent waits for a concurrent retry of the first, and sees its result.
#[tokio::test]
async fn a_child_is_restored_with_its_last_parent() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (first, second, watcher) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    for end in ["COMMIT", "ROLLBACK"] {
        let (a, b) = (enqueue(&watcher, "parent").await?, enqueue(&watcher, "parent").await?);
        let child = "SELECT nebula.enqueue_job('child', '{}', depends_on => ARRAY[$1, $2]::bigint[])";
        let child: i64 = watcher.query_one(child, &[&a, &b]).await?.get(0);
        watcher.batch_execute(&format!("SELECT nebula.cancel_job({a}), nebula.cancel_job({b})")).await?;
        ensure!(state(&watcher, child).await? == "cancelled", "it falls with its parents");
        let pid = pid(&second).await?;
        first.batch_execute(&format!("BEGIN; SELECT nebula.retry_job({a})")).await?;
        let call = format!("SELECT nebula.retry_job({b})");
        let (said, finished) = tokio::join!(second.batch_execute(&call), async {
            until_blocked(&watcher, pid).await?;
            anyhow::Ok(first.batch_execute(end).await?)
        });
        said?;
        finished?;
        let expected = if end == "COMMIT" { "blocked" } else { "cancelled" };
        ensure!(state(&watcher, child).await? == expected, "{end}: not {expected}");
    }
    Ok(())
}

#[tokio::test]
async fn a_claim_in_an_outdated_snapshot_fails_with_40001() -> Result<()> {
    for cluster in Cluster::both().await? {
        let stage = Stage::set(cluster).await?;
        let waiting = enqueue(&stage.watcher, KIND).await?;
        for (sql, change) in [
            (format!("SELECT nebula.complete_job({}, 1)", stage.job), HEARTBEAT.to_owned()),
            (format!("SELECT nebula.heartbeat_job({}, 1)", stage.job), HEARTBEAT.to_owned()),
            (format!("SELECT nebula.fail_job({}, 1, 'no')", stage.job), HEARTBEAT.to_owned()),
            (format!("SELECT nebula.hand_back_job({}, 1)", stage.job), HEARTBEAT.to_owned()),
            (
                format!("SELECT nebula.claim_jobs('late', '{{{KIND}}}')"),
                format!("UPDATE nebula.job_waiting SET attempt = attempt WHERE job_id = {waiting}"),
            ),
        ] {
            stage.first.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await?;
            stage.watcher.batch_execute(&change.replace("$job", &stage.job.to_string())).await?;
            let said = stage.first.batch_execute(&sql).await;
            stage.first.batch_execute("ROLLBACK").await?;
            ensure!(code(said)? == SqlState::T_R_SERIALIZATION_FAILURE, "{sql}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn concurrent_claims_skip_locked_jobs() -> Result<()> {
    for cluster in Cluster::both().await? {
        let stage = Stage::set(cluster).await?;
        let (one, two) = (enqueue(&stage.watcher, KIND).await?, enqueue(&stage.watcher, KIND).await?);
        stage.hold(&format!("SELECT nebula.claim_jobs('first', '{{{KIND}}}')")).await?;
        ensure!(claim(&stage.watcher, KIND, 9).await? == [(two, 1)], "the second job, and without waiting");
        stage.first.batch_execute("ROLLBACK").await?;
        ensure!(claim(&stage.watcher, KIND, 9).await? == [(one, 1)], "what was given back is there again");

        // A row with an uncommitted change cannot be claimed.
        let job = enqueue(&stage.watcher, KIND).await?;
        stage.hold(&format!("UPDATE nebula.job_waiting SET priority = 3 WHERE job_id = {job}")).await?;
        ensure!(claim(&stage.watcher, KIND, 9).await?.is_empty(), "it is locked");
        stage.first.batch_execute("COMMIT").await?;
        // Plain SQL moved the row, so the scan hint does not know it; the next full scan finds it.
        eventually("the changed row to be claimed", || async {
            Ok((claim(&stage.watcher, KIND, 9).await? == [(job, 1)]).then_some(()))
        })
        .await?;
    }
    Ok(())
}
