//! Claims are correct whatever the claim index contains: dead versions kept by a long transaction,
//! rolled-back claims, jobs that arrive before the position where the last claim ended.

use std::time::Duration;

use anyhow::{Result, ensure};
use nebula_tests::cluster::Cluster;
use nebula_tests::rounds;
use tokio_postgres::{Client, IsolationLevel};

use super::{claim, cluster_with_worker};

const KIND: &str = "versions";

/// Enqueues `count` jobs of a priority and answers them in order.
async fn fill(client: &Client, priority: i32, count: i32) -> Result<Vec<i64>> {
    let sql = "SELECT nebula.enqueue_job($1, '{}', $2) FROM generate_series(1, $3)";
    let rows = client.query(sql, &[&KIND, &priority, &count]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn finish(client: &Client, jobs: &[(i64, i32)]) -> Result<()> {
    let (ids, attempts): (Vec<i64>, Vec<i32>) = jobs.iter().copied().unzip();
    let sql = "SELECT nebula.complete_job(job, attempt)
                FROM unnest($1::bigint[], $2::integer[]) AS j (job, attempt)";
    client.query(sql, &[&ids, &attempts]).await?;
    Ok(())
}

/// Claims one job, which must be this one.
async fn next_is(client: &Client, job: i64, why: &str) -> Result<()> {
    let claimed = claim(client, KIND, 1).await?;
    ensure!(claimed.first().map(|(id, _)| *id) == Some(job), "{why}: job {job} is next, got {claimed:?}");
    finish(client, &claimed).await
}

/// Claims the last job, so that the scan hint moves behind all others.
async fn go_ahead(client: &Client) -> Result<()> {
    // The pause only makes the test stricter: the scan hint does not skip jobs that appeared a moment ago.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let last = fill(client, -9, 1).await?[0];
    next_is(client, last, "the last of all").await
}

async fn claims_stay_right(cluster: &Cluster, name: &str) -> Result<()> {
    let client = cluster.named(name).connect().await?;
    let mut watcher = cluster.named(name).connect().await?;
    let old = watcher.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
    old.query_one("SELECT count(*) FROM nebula.job_waiting", &[]).await?;

    // Dead versions at the head of the index, which vacuum may not remove.
    let many = i32::try_from(rounds(5_000, 200_000))?;
    let jobs = fill(&client, 0, many).await?;
    let mut claimed = Vec::new();
    loop {
        let some = claim(&client, KIND, 500).await?;
        if some.is_empty() {
            break;
        }
        finish(&client, &some).await?;
        claimed.extend(some.into_iter().map(|(job, _)| job));
    }
    ensure!(claimed == jobs, "in the order they came, each once");
    let [a, b, c] = fill(&client, 0, 3).await?[..] else { unreachable!("three were enqueued") };
    next_is(&client, a, "behind the dead ones").await?;

    // A rolled-back claim returns its jobs, also to sessions that have claimed later ones meanwhile.
    let mut holder = cluster.named(name).connect().await?;
    let held = holder.transaction().await?;
    ensure!(claim(&held, KIND, 1).await?[0].0 == b, "the next in order");
    next_is(&client, c, "what another claim holds is skipped").await?;
    go_ahead(&client).await?;
    ensure!(claim(&client, KIND, 1).await?.is_empty(), "nothing else waits");
    held.rollback().await?;
    next_is(&client, b, "a rolled-back claim").await?;

    // The same from within a subtransaction.
    let [d, e] = fill(&client, 0, 2).await?[..] else { unreachable!("two were enqueued") };
    let mut held = holder.transaction().await?;
    let savepoint = held.savepoint("a").await?;
    ensure!(claim(&savepoint, KIND, 1).await?[0].0 == d, "the next in order");
    next_is(&client, e, "what another claim holds is skipped").await?;
    go_ahead(&client).await?;
    savepoint.rollback().await?;
    held.commit().await?;
    next_is(&client, d, "a claim undone by a savepoint").await?;

    // An enqueue that commits after claims have gone past it.
    let held = holder.transaction().await?;
    let sql = "SELECT nebula.enqueue_job($1, '{}', 5)";
    let late: i64 = held.query_one(sql, &[&KIND]).await?.get(0);
    go_ahead(&client).await?;
    held.commit().await?;
    next_is(&client, late, "an enqueue that committed late").await?;

    // Jobs that arrive before the scan hint: higher priority, earlier time, a released child, a retry.
    go_ahead(&client).await?;
    let low = fill(&client, 0, 1).await?[0];
    let high = fill(&client, 7, 1).await?[0];
    next_is(&client, high, "a higher priority").await?;
    let early = "SELECT nebula.enqueue_job($1, '{}', run_at => now() - interval '1 hour')";
    let early: i64 = client.query_one(early, &[&KIND]).await?.get(0);
    next_is(&client, early, "an earlier time").await?;
    next_is(&client, low, "and then the one that waited").await?;
    let [parent, other] = fill(&client, 0, 2).await?[..] else { unreachable!("two were enqueued") };
    let child = "SELECT nebula.enqueue_job($1, '{}', 9, depends_on => ARRAY[$2::bigint])";
    let child: i64 = client.query_one(child, &[&KIND, &parent]).await?.get(0);
    next_is(&client, parent, "the parent before its child").await?;
    next_is(&client, child, "a child set free, of higher priority").await?;
    next_is(&client, other, "and then the one that waited").await?;
    let again = fill(&client, 3, 1).await?[0];
    let attempt = claim(&client, KIND, 1).await?[0].1;
    client.execute("SELECT nebula.fail_job($1, $2, 'story', false)", &[&again, &attempt]).await?;
    let behind = fill(&client, 0, 1).await?[0];
    client.execute("SELECT nebula.retry_job($1)", &[&again]).await?;
    next_is(&client, again, "a dead job that was revived").await?;
    next_is(&client, behind, "and then the one that waited").await?;
    old.commit().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_ordered_and_complete_under_a_long_transaction() -> Result<()> {
    for preload in [false, true] {
        let (cluster, database) = cluster_with_worker(preload, &["fsync=off"]).await?;
        claims_stay_right(&cluster, database.name()).await?;
    }
    Ok(())
}
