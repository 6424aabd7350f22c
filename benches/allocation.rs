//! Allocating an address, beside the least a durable answer can cost: one committed single-row insert.

use anyhow::Result;
use nebula_tests::cluster::Cluster;
use uuid::Uuid;

use crate::load::rate;

const FLOOR: &str = "INSERT INTO floor DEFAULT VALUES;";

pub(crate) async fn run() -> Result<()> {
    let cluster = Cluster::start(&["shared_buffers = '512MB'", "max_wal_size = '8GB'"]).await?;
    println!("| clients | floor before | allocate_ip | floor after | ratio |");
    println!("|---|---|---|---|---|");
    for clients in [1, 8, 32] {
        // A fresh database each, because the cost depends on how full the pool is.
        let database = cluster.database().await?;
        let client = database.connect().await?;
        client
            .batch_execute("CREATE TABLE floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
            .await?;
        let project: Uuid = client.query_one("SELECT nebula.create_project('bench')", &[]).await?.get(0);
        client.execute("SELECT nebula.populate_pool($1, '10.0.0.0/8')", &[&project]).await?;
        let allocate = format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid());");
        let before = rate(&cluster, &database, FLOOR, clients)?;
        let measured = rate(&cluster, &database, &allocate, clients)?;
        let after = rate(&cluster, &database, FLOOR, clients)?;
        let ratio = measured * 2.0 / (before + after);
        println!("| {clients} | {before:.0}/s | {measured:.0}/s | {after:.0}/s | {ratio:.2} |");
    }
    Ok(())
}
