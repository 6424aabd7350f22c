//! Claiming and completing: in two calls, in one, and a hundred jobs at a time.

use anyhow::Result;

use super::Queue;
use crate::harness::{COLUMNS, Harness, head};
use crate::load::{Load, pgbench};

/// Upper bounds of jobs per second, one by one and by the hundred.
const MAX_RATES: (u32, u32) = (40_000, 250_000);
/// Jobs in one call.
const BATCH: u32 = 100;

/// Completes the job of the last round and claims the next in the same commit.
const ONE_CALL: &str = "\\if :n = 0\n\
    SELECT job_id AS job, attempt FROM nebula.claim_jobs('pgbench', '{bench}') \\gset\n\
    \\set n 1\n\
    \\endif\n\
    SELECT job_id AS job, attempt \
    FROM nebula.finish_and_claim(:job, :attempt, NULL, 'pgbench', '{bench}') \\gset\n";

const NEBULA_BATCH: &str = "SELECT array_agg(job_id) AS jobs, array_agg(attempt) AS attempts \
       FROM nebula.claim_jobs('pgbench', '{bench}', 100) \\gset\n\
     SELECT count(*) FROM nebula.complete_jobs(:jobs::bigint[], :attempts::integer[]);\n";

/// Prints the tables.
pub(super) async fn run(harness: &Harness) -> Result<()> {
    let title =
        "Claim and complete: ratio to the floor (aims at 32 sessions: 0.40 in two calls, 0.55 in one)";
    head(title, "sessions", &[]);
    let [nebula, bare] = Queue::all(harness).await?;
    row(&nebula, "pg_nebula, claim_jobs + complete_job", nebula.sql.two_calls).await?;
    row(&nebula, "pg_nebula, finish_and_claim", ONE_CALL).await?;
    row(&bare, bare.sql.name, bare.sql.two_calls).await?;
    println!();
    let bare_batch = format!(
        "WITH c AS ({}) SELECT array_agg(job) AS jobs FROM c \\gset\n\
         DELETE FROM baseline.job WHERE id = ANY (:jobs::bigint[]);\n",
        include_str!("../baselines/queue/claim.sql").replace("LIMIT 1 ", "LIMIT 100 ")
    );
    for (queue, script) in [(&nebula, NEBULA_BATCH), (&bare, bare_batch.as_str())] {
        let load = Load { clients: 8, durable: true };
        queue.prepare(MAX_RATES.1 * harness.settings.seconds).await?;
        let run = pgbench(&harness.cluster, &queue.database, script, load, harness.settings.seconds)?;
        let rate = run.rate() * f64::from(BATCH);
        println!("{}, {BATCH} jobs a call, {load}: {rate:.0} jobs/s (aim 120 000)", queue.sql.name);
    }
    Ok(())
}

async fn row(queue: &Queue<'_>, name: &str, script: &str) -> Result<()> {
    print!("| {name} |");
    for load in COLUMNS {
        queue.prepare(MAX_RATES.0 * queue.harness.settings.seconds).await?;
        print!(" {} |", queue.measure(script, load)?);
    }
    println!();
    Ok(())
}
