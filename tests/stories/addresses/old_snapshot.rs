//! Devices that come and go while a transaction keeps an old snapshot, so that no dead row can be removed.

use anyhow::Result;
use nebula_tests::cluster::Cluster;
use nebula_tests::invariants;
use tokio_postgres::Client;
use uuid::Uuid;

/// A device that comes and goes a thousand times.
fn churn(project: Uuid) -> String {
    format!(
        "DO $$ BEGIN
           FOR number IN 1..1000 LOOP
             PERFORM nebula.allocate_ip('{project}', md5(number::text)::uuid);
             COMMIT;
             PERFORM nebula.release_ip(md5(number::text)::uuid);
             COMMIT;
           END LOOP;
         END $$"
    )
}

/// Buffers that an allocation reads.
async fn cost(client: &Client, project: Uuid) -> Result<i64> {
    let explain = format!(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT nebula.allocate_ip('{project}', gen_random_uuid())"
    );
    let plan: serde_json::Value = client.query_one(&explain, &[]).await?.get(0);
    Ok(plan[0]["Plan"]["Shared Hit Blocks"].as_i64().expect("a number of buffers"))
}

/// Each address has one index entry for every row that ever had it; the unique index reads all of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_an_allocation_stays_flat() -> Result<()> {
    let [_, cluster] = Cluster::both().await?;
    let database = cluster.database().await?;
    let (client, old) = (database.connect().await?, database.connect().await?);
    let project: Uuid = client.query_one("SELECT nebula.create_project('p')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.1.0.0/24')", &[&project]).await?;
    client.execute("SELECT nebula.allocate_ip($1, gen_random_uuid())", &[&project]).await?;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM nebula.allocation")
        .await?;
    client.batch_execute(&churn(project)).await?;
    let buffers = cost(&client, project).await?;
    assert!(buffers < 400, "{buffers} buffers");
    // Addresses that were skipped meanwhile are found when no others are left.
    assert_eq!(invariants::check(&client, project).await?.free, 252);
    let all = "SELECT count(nebula.allocate_ip($1, gen_random_uuid())) FROM generate_series(1, 252)";
    assert_eq!(client.query_one(all, &[&project]).await?.get::<_, i64>(0), 252);
    assert_eq!(invariants::check(&client, project).await?.free, 0);
    old.batch_execute("COMMIT").await?;
    Ok(())
}

/// The next page of the pool has not been read yet when the addresses of the first one are skipped.
#[tokio::test(flavor = "multi_thread")]
async fn the_cost_stays_flat_at_the_end_of_a_page_too() -> Result<()> {
    let [_, cluster] = Cluster::both().await?;
    let database = cluster.database().await?;
    let (client, old) = (database.connect().await?, database.connect().await?);
    let project: Uuid = client.query_one("SELECT nebula.create_project('p')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.1.0.0/16')", &[&project]).await?;
    // All addresses of the first page but the last one.
    let fill = "SELECT count(nebula.allocate_ip($1, gen_random_uuid())) FROM generate_series(1, 32766)";
    client.execute(fill, &[&project]).await?;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM nebula.allocation")
        .await?;
    client.batch_execute(&churn(project)).await?;
    let buffers = cost(&client, project).await?;
    assert!(buffers < 400, "{buffers} buffers");
    let ip = "SELECT host(nebula.allocate_ip($1, gen_random_uuid()))";
    let ip: String = client.query_one(ip, &[&project]).await?.get(0);
    assert!(ip.starts_with("10.1.128."), "{ip} is in the next page");
    old.batch_execute("COMMIT").await?;
    Ok(())
}
