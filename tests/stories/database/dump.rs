//! pg_dump and restore: every row is restored, and sequences continue where they were.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::run;
use nebula_tests::cluster::{Cluster, Database};
use uuid::Uuid;

/// Every row of every table of the extension, as text.
pub(super) async fn contents(database: &Database) -> Result<Vec<(String, String)>> {
    let client = database.connect().await?;
    let tables = client
        .query(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'nebula'
                 ORDER BY 1",
            &[],
        )
        .await?;
    let mut all = Vec::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = client.query(&format!("SELECT t::text FROM {table} t ORDER BY 1"), &[]).await?;
        all.extend(rows.iter().map(|row| (table.clone(), row.get(0))));
    }
    Ok(all)
}

/// Dumps a database and restores it under another name.
async fn restore(cluster: &Cluster, database: &Database, name: &str) -> Result<Database> {
    let mut dump = cluster.tool("pg_dump").arg(database.name()).stdout(Stdio::piped()).spawn()?;
    let restored = cluster.empty_database(name).await?;
    let output = dump.stdout.take().context("pg_dump has no output")?;
    run(cluster.tool("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", name]).stdin(output))?;
    ensure!(dump.wait()?.success(), "pg_dump failed");
    Ok(restored)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_equal_and_continues_its_sequences() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    let database = cluster.database().await?;
    let client = database.connect().await?;
    let project: Uuid =
        client.query_one("SELECT nebula.create_project('dump', '10.3.0.0/16')", &[]).await?.get(0);
    client
        .execute("SELECT nebula.populate_pool($1, '10.3.0.0/24', reserve_gateway => true)", &[&project])
        .await?;
    let devices: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for device in &devices {
        client.execute("SELECT nebula.allocate_ip($1, $2, 'dump story')", &[&project, device]).await?;
    }
    client.execute("SELECT nebula.release_ip($1)", &[&devices[7]]).await?;
    client.execute("SELECT nebula.register_node('alpha', 'alpha.example:51820')", &[]).await?;
    let create = "SELECT nebula.create_peer($1, NULL, encode(sha256('key'), 'base64'), name => 'phone', preshared => true)";
    client.execute(create, &[&project]).await?;
    let enqueue = "SELECT nebula.enqueue_job('story', '{\"n\": 1}', depends_on => $1)";
    let parent: i64 = client.query_one(enqueue, &[&Vec::<i64>::new()]).await?.get(0);
    let child: i64 = client.query_one(enqueue, &[&vec![parent]]).await?.get(0);

    let restored = restore(&cluster, &database, "restored").await?;
    restored.grant().await?;

    let before = contents(&database).await?;
    assert!(before.len() > 25, "the story left rows to compare");
    assert_eq!(before, contents(&restored).await?);

    let client = restored.connect().await?;
    let next = "SELECT host(nebula.allocate_ip($1, $2))";
    let ip: String = client.query_one(next, &[&project, &Uuid::new_v4()]).await?.get(0);
    assert_eq!(ip, "10.3.0.9", "the gap that the release left");
    let ip: String = client.query_one(next, &[&project, &Uuid::new_v4()]).await?.get(0);
    assert_eq!(ip, "10.3.0.22");
    let job: i64 = client.query_one(enqueue, &[&Vec::<i64>::new()]).await?.get(0);
    assert_eq!(job, child + 1, "job numbers go on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_linked_table_is_still_updated() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    let database = cluster.database().await?;
    let client = database.connect().await?;
    // Named so that pg_dump writes one before the extension's tables and one after them.
    client
        .batch_execute(
            "CREATE SCHEMA app;
             CREATE TABLE app.user_devices (id uuid PRIMARY KEY, nebula_ip inet,
              nebula_last_seen timestamptz);
             CREATE TABLE \"a b\" (key uuid PRIMARY KEY, address inet)",
        )
        .await?;
    let [held, later] = [Uuid::new_v4(), Uuid::new_v4()];
    for device in [held, later] {
        client.execute("INSERT INTO app.user_devices (id) VALUES ($1)", &[&device]).await?;
        client.execute("INSERT INTO \"a b\" (key) VALUES ($1)", &[&device]).await?;
    }
    let project: Uuid = client.query_one("SELECT nebula.create_project('links')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.3.0.0/24')", &[&project]).await?;
    client
        .batch_execute(
            "SELECT nebula.link_device_table('app.user_devices');
              SELECT nebula.link_device_table('\"a b\"', 'key', 'address')",
        )
        .await?;
    client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &held]).await?;

    let restored = restore(&cluster, &database, "restored").await?;
    restored.grant().await?;
    assert_eq!(contents(&database).await?, contents(&restored).await?);
    let client = restored.connect().await?;
    let shown = async |device: Uuid| {
        let shown = "SELECT host(u.nebula_ip), host(a.address) FROM app.user_devices u
                      JOIN \"a b\" a ON a.key = u.id WHERE u.id = $1";
        let row = client.query_one(shown, &[&device]).await?;
        anyhow::Ok([row.get::<_, Option<String>>(0), row.get(1)])
    };
    let both = |ip: &str| [Some(ip.to_owned()), Some(ip.to_owned())];
    assert_eq!(shown(held).await?, both("10.3.0.1"));
    client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &later]).await?;
    assert_eq!(shown(later).await?, both("10.3.0.2"), "still linked");
    client.execute("SELECT nebula.release_ip($1)", &[&held]).await?;
    assert_eq!(shown(held).await?, [None, None]);
    let found = client.query("SELECT to_jsonb(c)::text FROM nebula.check_pool() c", &[]).await?;
    assert!(found.is_empty(), "{}", found[0].get::<_, String>(0));
    Ok(())
}
