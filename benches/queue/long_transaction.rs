//! The queue under a transaction held open for minutes, with many finished and many waiting jobs.

use anyhow::Result;
use tokio_postgres::IsolationLevel;

use super::Queue;
use crate::harness::Harness;
use crate::load::{Load, Run, pgbench};

const LOAD: Load = Load { clients: 32, durable: true };

/// Prints the table.
pub(super) async fn run(harness: &Harness) -> Result<()> {
    let (jobs, seconds) = (harness.settings.jobs, harness.settings.hold_seconds);
    println!(
        "\n## Enqueue, claim, complete with {jobs} finished, {jobs} waiting \
         and a transaction held open for {seconds} s\n"
    );
    println!("| | fresh | at first | at the end | keeps (aim 0.6) |\n|---|---|---|---|---|");
    for queue in Queue::all(harness).await? {
        row(&queue).await?;
    }
    Ok(())
}

async fn row(queue: &Queue<'_>) -> Result<()> {
    let settings = queue.harness.settings;
    // Enqueues a job for each completed one, so that the queue does not run empty.
    let script = format!("{}{}", queue.sql.enqueue, queue.sql.two_calls);
    queue.prepare(10_000).await?;
    let fresh = queue.measure(&script, LOAD)?;
    queue.prepare(settings.jobs).await?;
    finish(queue, settings.jobs).await?;
    queue.fill(settings.jobs).await?;
    queue.client.batch_execute("VACUUM ANALYZE").await?;
    let before = queue.harness.floor(LOAD)?;
    let mut watcher = queue.database.connect().await?;
    let held = watcher.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
    held.query_one("SELECT count(*) FROM pg_class", &[]).await?;
    let run = pgbench(&queue.harness.cluster, &queue.database, &script, LOAD, settings.hold_seconds)?;
    held.rollback().await?;
    let floor = f64::midpoint(before, queue.harness.floor(LOAD)?);
    let (first, last) = ends(&run);
    println!(
        "| {} | {fresh} | {:.2} ({first:.0}/s) | {:.2} ({last:.0}/s) | {:.2} |",
        queue.sql.name,
        first / floor,
        last / floor,
        last / floor / fresh.ratio
    );
    Ok(())
}

/// Claims and completes `jobs` of the waiting jobs.
async fn finish(queue: &Queue<'_>, jobs: u32) -> Result<()> {
    let sql = match queue.sql.name {
        "pg_nebula" => {
            "WITH c AS MATERIALIZED (SELECT * FROM nebula.claim_jobs('fill', '{bench}', 1000, '1 h'))
             SELECT count(*) FROM nebula.complete_jobs(ARRAY(SELECT job_id FROM c), ARRAY(SELECT attempt
              FROM c))"
        }
        // The bare table keeps no finished jobs: only dead row versions remain.
        _ => {
            "DELETE FROM baseline.job WHERE id = ANY (ARRAY(SELECT id FROM baseline.job
              ORDER BY priority DESC, run_at, id LIMIT 1000))"
        }
    };
    for _ in 0..jobs.div_ceil(1000) {
        queue.client.execute(sql, &[]).await?;
    }
    Ok(())
}

/// Mean rate of the first and of the last tenth.
fn ends(run: &Run) -> (f64, f64) {
    let count = (run.windows.len() / 10).max(1).min(run.windows.len());
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    (mean(&run.windows[..count]), mean(&run.windows[run.windows.len() - count..]))
}
