//! Enqueueing: one job in a transaction with listening workers, and many jobs in a call.

use anyhow::Result;
use nebula_tests::cluster::Database;
use tokio_postgres::Client;

use super::Queue;
use crate::harness::{COLUMNS, Harness, head};
use crate::load::{Load, pgbench};

/// Number of listening sessions.
const LISTENERS: usize = 8;
/// Jobs in one call.
const BATCH: u32 = 1000;

/// Prints the tables.
pub(super) async fn run(harness: &Harness) -> Result<()> {
    let title = format!(
        "Enqueue, one job a transaction, {LISTENERS} listening workers: ratio to the floor (aim 0.80 at 32)"
    );
    head(&title, "sessions", &[]);
    let [nebula, bare] = Queue::all(harness).await?;
    let notify = format!("BEGIN;\n{}SELECT pg_notify('nebula_job', 'bench');\nCOMMIT;\n", bare.sql.enqueue);
    row(&nebula, nebula.sql.name, nebula.sql.enqueue).await?;
    row(&bare, bare.sql.name, bare.sql.enqueue).await?;
    row(&bare, "bare table, NOTIFY in the transaction", &notify).await?;
    println!();
    for queue in [&nebula, &bare] {
        let script = queue.sql.fill.replace("$1", &BATCH.to_string());
        let load = Load { clients: 8, durable: true };
        queue.prepare(0).await?;
        let run = pgbench(&harness.cluster, &queue.database, &script, load, harness.settings.seconds)?;
        let rate = run.rate() * f64::from(BATCH);
        println!("{}, {BATCH} jobs a call, {load}: {rate:.0} jobs/s (aim 250 000)", queue.sql.name);
    }
    Ok(())
}

async fn row(queue: &Queue<'_>, name: &str, script: &str) -> Result<()> {
    let _listening = listeners(&queue.database).await?;
    print!("| {name} |");
    for load in COLUMNS {
        queue.prepare(0).await?;
        print!(" {} |", queue.measure(script, load)?);
    }
    println!();
    Ok(())
}

/// Sessions that are notified of every job and ignore it.
async fn listeners(database: &Database) -> Result<Vec<Client>> {
    let mut all = Vec::new();
    for _ in 0..LISTENERS {
        let client = database.connect().await?;
        client.batch_execute("LISTEN nebula_job").await?;
        all.push(client);
    }
    Ok(all)
}
