//! Physical and logical replication: a standby that is promoted, and a decoder that follows every row.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::{eventually, invariants};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

async fn pool(client: &Client, cidr: &str) -> Result<Uuid> {
    let project = client.query_one("SELECT nebula.create_project('replicated')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, $2::text::inet)", &[&project, &cidr]).await?;
    Ok(project)
}

async fn allocate(client: &Client, project: Uuid, device: Uuid) -> Result<String, tokio_postgres::Error> {
    let row = client.query_one("SELECT host(nebula.allocate_ip($1, $2))", &[&project, &device]).await?;
    Ok(row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_allocates_only_free_addresses() -> Result<()> {
    let primary = Cluster::start(&[PRELOAD]).await?;
    let database = primary.database().await?;
    let client = database.connect().await?;
    let project = pool(&client, "10.1.0.0/28").await?;
    let devices: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
    for device in &devices {
        allocate(&client, project, *device).await?;
    }
    let mut standby = primary.standby().await?;
    // Plain SQL: the standby learns of it from the write-ahead log alone.
    client.execute("SELECT nebula.release_ip($1)", &[&devices[2]]).await?;
    allocate(&client, project, Uuid::new_v4()).await?;
    client.execute("SELECT nebula.release_ip($1)", &[&devices[4]]).await?;
    let written: String = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?.get(0);
    let follower = standby.named(database.name()).connect().await?;
    eventually("the standby to catch up", || async {
        let row =
            follower.query_one("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", &[&written]).await?;
        Ok(row.get::<_, bool>(0).then_some(()))
    })
    .await?;
    let refused = allocate(&follower, project, Uuid::new_v4()).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{refused:?}");
    drop(client);
    drop(primary);
    follower.batch_execute("SELECT pg_promote()").await?;
    // A session that was connected before the promotion, and a new one.
    assert_eq!(allocate(&follower, project, Uuid::new_v4()).await?, "10.1.0.5");
    let other = standby.named(database.name()).connect().await?;
    for expected in 7..=14 {
        assert_eq!(allocate(&other, project, Uuid::new_v4()).await?, format!("10.1.0.{expected}"));
    }
    let full = allocate(&other, project, Uuid::new_v4()).await.unwrap_err();
    assert_eq!(full.code(), Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED), "{full:?}");
    assert_eq!(invariants::check(&other, project).await?.allocated, 14);
    drop((follower, other));
    standby.stop()
}

/// Sessions that allocate for the same devices at once abandon rows that they had inserted: a decoder must
/// not see those.
#[tokio::test(flavor = "multi_thread")]
async fn a_logical_decoder_sees_each_row_once() -> Result<()> {
    const SESSIONS: usize = 8;
    for preload in [PRELOAD, ""] {
        let mut cluster = Cluster::start(&["fsync=off", "wal_level = 'logical'", preload]).await?;
        let database = cluster.database().await?;
        let client = database.connect().await?;
        let project = pool(&client, "10.1.0.0/24").await?;
        client
            .batch_execute("SELECT pg_create_logical_replication_slot('follower', 'test_decoding')")
            .await?;
        let devices: Vec<Uuid> = (0..60).map(|_| Uuid::new_v4()).collect();
        let sessions = (0..SESSIONS).map(|_| contend(&database, project, &devices));
        let answers = try_join_all(sessions).await?;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "one device, two addresses");
        let batch =
            "SELECT nebula.allocate_ips($1, array_agg(md5(n::text)::uuid)) FROM generate_series(1, 20) AS n";
        client.query(batch, &[&project]).await?;
        client.execute("SELECT nebula.release_ip($1)", &[&devices[7]]).await?;
        let followed = followed(&client).await?;
        let rows = client.query("SELECT host(ip), device_id::text FROM nebula.allocation", &[]).await?;
        let held: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(followed, held);
        assert_eq!(held.len(), 60 + 20 - 1);
        drop(client);
        cluster.stop()?;
    }
    Ok(())
}

async fn contend(database: &Database, project: Uuid, devices: &[Uuid]) -> Result<Vec<String>> {
    let client = database.connect().await?;
    let mut held = Vec::new();
    for device in devices {
        held.push(allocate(&client, project, *device).await?);
    }
    Ok(held)
}

/// Addresses and their devices, computed from the decoded changes alone; a row that is inserted twice is an
/// error.
async fn followed(client: &Client) -> Result<BTreeMap<String, String>> {
    let changes =
        client.query("SELECT data FROM pg_logical_slot_get_changes('follower', NULL, NULL)", &[]).await?;
    let mut rows = BTreeMap::new();
    for change in &changes {
        let change: &str = change.get(0);
        let Some(change) = change.strip_prefix("table nebula.allocation: ") else { continue };
        let ip = field(change, "ip[inet]:'")?;
        if change.starts_with("INSERT") {
            let before = rows.insert(ip.to_owned(), field(change, "device_id[uuid]:'")?.to_owned());
            assert_eq!(before, None, "{change}");
        } else {
            assert!(change.starts_with("DELETE"), "{change}");
            assert!(rows.remove(ip).is_some(), "{change}");
        }
    }
    Ok(rows)
}

fn field<'a>(change: &'a str, label: &str) -> Result<&'a str> {
    let rest = change.split_once(label).with_context(|| format!("no {label} in {change}"))?.1;
    Ok(rest.split(['\'', '/']).next().unwrap_or(rest))
}
