//! The free-address map after the server has been down: restored when it is current, rebuilt when it may not
//! be.

use std::fs;

use anyhow::Result;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::invariants;
use tokio_postgres::Client;
use uuid::Uuid;

/// More than a page of the map.
const HELD: i32 = 40_000;

/// A pool whose first page is full but for one address, 10.0.0.77.
async fn filled(database: &Database) -> Result<Uuid> {
    let client = database.connect().await?;
    let project = client.query_one("SELECT nebula.create_project('restarted')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.0.0.0/8')", &[&project]).await?;
    let fill = "SELECT count(*) FROM nebula.allocate_ips($1, ARRAY(SELECT gen_random_uuid()
                 FROM generate_series(1, $2)))";
    client.query_one(fill, &[&project, &HELD]).await?;
    client
        .execute("SELECT nebula.release_ip(device_id) FROM nebula.allocation WHERE ip = '10.0.0.77'", &[])
        .await?;
    Ok(project)
}

async fn allocate(client: &Client, project: Uuid) -> Result<String> {
    let allocate = "SELECT host(nebula.allocate_ip($1, gen_random_uuid()))";
    Ok(client.query_one(allocate, &[&project]).await?.get(0))
}

/// The number of map pages in memory, and of pages built from the table so far.
async fn pages(client: &Client) -> Result<(i64, i64)> {
    let row = client
        .query_one("SELECT pages, rebuilds FROM nebula.map_status() WHERE pool_id IS NULL", &[])
        .await?;
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_restart_restores_the_map() -> Result<()> {
    let mut cluster = Cluster::start(&[PRELOAD, "fsync = off"]).await?;
    let database = cluster.database().await?;
    let project = filled(&database).await?;
    let before = pages(&database.connect().await?).await?;
    assert!(before.0 >= 2, "{before:?}");
    cluster.stop()?;
    cluster.resume().await?;
    let client = database.connect().await?;
    assert_eq!(allocate(&client, project).await?, "10.0.0.77");
    assert_eq!(allocate(&client, project).await?, "10.0.156.65");
    assert_eq!(pages(&client).await?, before, "nothing had to be read again");
    invariants::check(&client, project).await?;
    drop(client);
    cluster.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_or_damaged_dump_is_not_restored() -> Result<()> {
    let mut cluster = Cluster::start(&[PRELOAD, "fsync = off"]).await?;
    let database = cluster.database().await?;
    let project = filled(&database).await?;
    cluster.stop()?;
    let file = cluster.data().join("pg_stat/pg_nebula.map");
    let kept = fs::read(&file)?;
    cluster.resume().await?;
    assert!(!file.exists(), "it would be out of date with the first change");
    let client = database.connect().await?;
    // Held when the map was dumped, and free now.
    client
        .execute("SELECT nebula.release_ip(device_id) FROM nebula.allocation WHERE ip = '10.0.0.9'", &[])
        .await?;
    drop(client);
    cluster.crash().await?;
    assert!(!file.exists());
    // The dump of an earlier shutdown, as a backup might restore it.
    fs::write(&file, &kept)?;
    cluster.resume().await?;
    assert_eq!(allocate(&database.connect().await?, project).await?, "10.0.0.9");
    cluster.stop()?;
    // A dump that a power cut has truncated.
    let mut torn = fs::read(&file)?;
    let last = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[last] ^= 0xff;
    fs::write(&file, &torn)?;
    cluster.resume().await?;
    let client = database.connect().await?;
    assert_eq!(pages(&client).await?.0, 0);
    assert_eq!(allocate(&client, project).await?, "10.0.0.77");
    invariants::check(&client, project).await?;
    drop(client);
    cluster.stop()
}
