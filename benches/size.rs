//! The cost of an empty pool, of a held address, and of a restart.

use std::time::{Duration, Instant};

use anyhow::Result;
use nebula_tests::cluster::Database;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::candidate::PROJECT;
use crate::harness::{Harness, has};

/// Prints the table.
pub(crate) async fn run(harness: &mut Harness) -> Result<()> {
    println!("\n## Size and restart\n\n| | measured | aim |\n|---|---|---|");
    let database = harness.cluster.database().await?;
    let client = database.connect().await?;
    for (cidr, words) in [("10.0.0.0/8", "a /8"), ("fd00::/64", "an IPv6 /64")] {
        println!("| populate_pool of {words} | {} | 5 ms |", millis(populate(&client, cidr).await?));
    }
    let held = harness.settings.held;
    hold(&client, held).await?;
    client.batch_execute("VACUUM (ANALYZE) nebula.allocation").await?;
    let parts = "SELECT pg_total_relation_size('nebula.allocation'), pg_table_size('nebula.allocation'),
                        pg_indexes_size('nebula.allocation'), count(*) FROM nebula.allocation";
    let row = client.query_one(parts, &[]).await?;
    let each = |column: usize| row.get::<_, i64>(column) as f64 / row.get::<_, i64>(3) as f64;
    println!(
        "| a held address, of {held} | {:.0} bytes (heap {:.0}, indexes {:.0}) | 250 bytes |",
        each(0),
        each(1),
        each(2)
    );

    // The lowest million addresses are held, so the search passes every page of them.
    let kept = after_restart(harness, &database, Restart::Orderly).await?;
    println!("| first allocation after a restart, the lowest {held} held | {} | 20 ms |", millis(kept));
    let read = after_restart(harness, &database, Restart::Crash).await?;
    println!("| the same after a crash: the whole map read from the table | {} | 500 ms |", millis(read));
    Ok(())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Median time of five calls with their commits, each in a new project.
async fn populate(client: &Client, cidr: &str) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let name = Uuid::new_v4().to_string();
        let project: Uuid = client.query_one("SELECT nebula.create_project($1)", &[&name]).await?.get(0);
        let begun = Instant::now();
        client.execute("SELECT nebula.populate_pool($1, $2::text::inet)", &[&project, &cidr]).await?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[2])
}

/// Allocates `held` addresses in batches, or one by one where the extension has no batches.
async fn hold(client: &Client, held: i32) -> Result<()> {
    client.batch_execute(&crate::candidate::nebula(8)).await?;
    if !has(client, "allocate_ips").await? {
        let fill =
            "SELECT count(nebula.allocate_ip($1::text::uuid, gen_random_uuid())) FROM generate_series(1, $2)";
        // One transaction for each 10 000, to bound the memory of a transaction.
        for begun in (0..held).step_by(10_000) {
            client.query_one(fill, &[&PROJECT, &(held - begun).min(10_000)]).await?;
        }
        return Ok(());
    }
    let fill = "SELECT count(*) FROM nebula.allocate_ips($1::text::uuid,
                  ARRAY(SELECT gen_random_uuid() FROM generate_series(1, $2)))";
    for begun in (0..held).step_by(10_000) {
        client.query_one(fill, &[&PROJECT, &(held - begun).min(10_000)]).await?;
    }
    Ok(())
}

/// How the server is stopped.
#[derive(PartialEq, Eq)]
enum Restart {
    Orderly,
    Crash,
}

/// Stops and starts the server, connects, and times the first allocation.
async fn after_restart(harness: &mut Harness, database: &Database, restart: Restart) -> Result<Duration> {
    if restart == Restart::Orderly {
        harness.cluster.stop()?;
    } else {
        harness.cluster.crash().await?;
    }
    harness.cluster.resume().await?;
    let client = database.connect().await?;
    let begun = Instant::now();
    client.execute("SELECT nebula.allocate_ip($1::text::uuid, gen_random_uuid())", &[&PROJECT]).await?;
    Ok(begun.elapsed())
}
