//! The background worker: maintenance without any call by a client.

use anyhow::Result;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::{eventually, invariants};
use tokio_postgres::Client;
use uuid::Uuid;

/// A cluster whose background worker serves a database that was created after the server had started.
pub(crate) async fn cluster_with_worker(settings: &[&str]) -> Result<(Cluster, Database)> {
    let common = ["fsync=off", PRELOAD, "nebula.maintenance_interval = 1"];
    let cluster = Cluster::start(&[&common, settings].concat()).await?;
    let client = cluster.named("postgres").connect().await?;
    eventually("the launcher", || async { present(&client, "pg_nebula launcher").await }).await?;
    let database = cluster.empty_database("nebula").await?;
    eventually("the worker", || async { present(&client, "pg_nebula maintenance").await }).await?;
    // The worker already runs and must tolerate a database without the extension.
    database.connect().await?.batch_execute("CREATE EXTENSION pg_nebula").await?;
    database.grant().await?;
    Ok((cluster, database))
}

async fn present(client: &Client, kind: &str) -> Result<Option<i32>> {
    let row = client.query_opt("SELECT pid FROM pg_stat_activity WHERE backend_type = $1", &[&kind]).await?;
    Ok(row.map(|row| row.get(0)))
}

async fn usage(client: &Client, column: &str) -> Result<i64> {
    let sum = format!("SELECT sum({column})::bigint FROM nebula.pool_usage()");
    Ok(client.query_one(&sum, &[]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_background_worker_reclaims_leases_and_rescues_jobs() -> Result<()> {
    let (cluster, database) = cluster_with_worker(&[]).await?;
    let client = database.connect().await?;
    let project: Uuid = client.query_one("SELECT nebula.create_project('worker')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.5.0.0/24')", &[&project]).await?;
    let [lasting, leased, waiting] = [(); 3].map(|()| Uuid::new_v4());
    client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &lasting]).await?;
    let lease = "SELECT nebula.allocate_ip($1, $2, lease => '1 second')";
    client.execute(lease, &[&project, &leased]).await?;
    client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &waiting]).await?;
    client
        .execute(
            "UPDATE nebula.allocation SET released_at = now(), quarantined_until = clock_timestamp() +
              interval '1 second'
              WHERE device_id = $1",
            &[&waiting],
        )
        .await?;
    assert_eq!(usage(&client, "quarantined").await?, 1);
    client.execute("SELECT nebula.enqueue_job('story', '{}')", &[]).await?;
    let claim = "SELECT job_id FROM nebula.claim_jobs('lost', '{story}', 1, '1 second')";
    assert_eq!(client.query(claim, &[]).await?.len(), 1);

    let log = "SELECT released_by FROM nebula.allocation_log WHERE device_id = $1";
    let by: String = eventually("the lease to be reclaimed", || async {
        Ok(client.query_opt(log, &[&leased]).await?.map(|row| row.get(0)))
    })
    .await?;
    assert_eq!(by, "lease expired");
    eventually("the job to be rescued", || async {
        Ok(client.query_opt("SELECT FROM nebula.job_waiting", &[]).await?)
    })
    .await?;
    eventually("the quarantine to end", || async {
        Ok((usage(&client, "quarantined").await? == 0).then_some(()))
    })
    .await?;
    assert_eq!(invariants::check(&client, project).await?.allocated, 1, "what has no lease stays");
    assert_eq!(invariants::exhaust(&client, project).await?.len(), 253);
    let log = cluster.log()?;
    // The observer's own connection may have been refused before the server was up.
    let alarming =
        |line: &&str| line.contains("WARNING") || line.contains("FATAL") && !line.contains("starting up");
    assert_eq!(log.lines().find(alarming), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_background_worker_is_restarted_after_its_end() -> Result<()> {
    let (_cluster, database) = cluster_with_worker(&[]).await?;
    let client = database.connect().await?;
    let first =
        eventually("the worker", || async { present(&client, "pg_nebula maintenance").await }).await?;
    client.execute("SELECT pg_terminate_backend($1)", &[&first]).await?;
    eventually("another worker", || async {
        Ok(present(&client, "pg_nebula maintenance").await?.filter(|pid| *pid != first))
    })
    .await?;
    Ok(())
}

/// Waits until the maintenance worker has come by twice, so that it did once all that it does in a round.
pub(super) async fn rounds(client: &Client) -> Result<()> {
    let waits = "SELECT FROM pg_stat_activity
                  WHERE backend_type = 'pg_nebula maintenance' AND wait_event_type = 'Lock'";
    for _ in 0..2 {
        client.batch_execute("BEGIN; LOCK TABLE nebula.restore_progress").await?;
        let seen = eventually("the worker", || async {
            // A transaction sees the activity of its first look again.
            client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
            Ok(client.query_opt(waits, &[]).await?.map(drop))
        })
        .await;
        client.batch_execute("COMMIT").await?;
        seen?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_database_do_not_stop_the_background_worker() -> Result<()> {
    let (cluster, database) = cluster_with_worker(&[]).await?;
    let client = database.connect().await?;
    let restart =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_nebula maintenance'";
    let own = "ALTER DATABASE nebula SET default_transaction_isolation = 'serializable';
               ALTER DATABASE nebula SET session_replication_role = replica;
               ALTER DATABASE nebula SET lock_timeout = '1ms'";
    for settings in [own, "ALTER DATABASE nebula SET default_transaction_read_only = on"] {
        client.batch_execute(&format!("{settings}; {restart}")).await?;
        rounds(&client).await?;
    }
    let log = cluster.log()?;
    assert_eq!(log.lines().find(|line| line.contains("ERROR") || line.contains("WARNING")), None);
    Ok(())
}
