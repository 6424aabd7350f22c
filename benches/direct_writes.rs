//! The extension with `nebula.direct_writes` on and off: rate, and processor time of the server for each
//! transaction. A direct variant pays for its code when it gains 15 % of rate or saves 20 % of processor
//! time.

use anyhow::Result;
use nebula_tests::cluster::Database;

use crate::candidate::{DEVICE, NEBULA, NEW_DEVICE, PROJECT};
use crate::cpu;
use crate::harness::Harness;
use crate::load::{Load, pgbench};
use crate::queue::Queue;

const LOADS: [Load; 3] = [
    Load { clients: 1, durable: false },
    Load { clients: 8, durable: false },
    Load { clients: 32, durable: true },
];
/// Alternations between on and off, so that a change of the machine's speed affects both.
const ROUNDS: u32 = 3;
/// More jobs per second than any load finishes, so that no client finds the queue empty.
const JOBS: u32 = 100_000;

/// Sums of one setting over all rounds.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    transactions: f64,
    seconds: f64,
    processor: f64,
}

impl Sums {
    fn rate(self) -> f64 {
        self.transactions / self.seconds.max(f64::EPSILON)
    }

    /// Microseconds of the server for each transaction.
    fn cost(self) -> f64 {
        self.processor * 1e6 / self.transactions.max(1.0)
    }
}

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let allocations = NEBULA.ready(harness, 8, 0).await?;
    if !has_setting(&allocations).await? {
        println!("\nThis version has no nebula.direct_writes: there is nothing to compare.");
        return Ok(());
    }
    let queue = Queue::nebula(harness).await?;
    println!("\n## Direct writes: on compared with off\n");
    println!("| | load | on | off | rate | server on | server off | processor time saved |");
    println!("|---|---|---|---|---|---|---|---|");
    let allocate = format!("{NEW_DEVICE}{}", NEBULA.allocate(DEVICE));
    let release = format!("{allocate}\nSELECT nebula.release_ip({DEVICE});");
    let batch = format!(
        "SELECT count(*) FROM nebula.allocate_ips('{PROJECT}', \
         ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));"
    );
    for (name, script) in [
        ("allocate_ip", allocate.as_str()),
        ("allocate_ip + release_ip", release.as_str()),
        ("allocate_ips of 100", batch.as_str()),
    ] {
        for load in LOADS {
            let cells = compare(harness, &allocations, script, load, async || Ok(())).await?;
            row(name, load, cells);
        }
    }
    for (name, jobs, script) in [
        ("enqueue_job", 0, queue.sql.enqueue),
        ("claim_jobs + complete_job", JOBS, queue.sql.two_calls),
        ("claim_jobs + heartbeat_job + complete_job", JOBS, HEARTBEAT),
        ("claim_jobs + fail_job", JOBS, FAIL),
    ] {
        for load in LOADS {
            let fill = async || queue.prepare(jobs * harness.settings.seconds).await;
            let cells = compare(harness, &queue.database, script, load, fill).await?;
            row(name, load, cells);
        }
    }
    Ok(())
}

const HEARTBEAT: &str = "SELECT job_id AS job, attempt FROM nebula.claim_jobs('pgbench', '{bench}') \\gset\n\
    SELECT nebula.heartbeat_job(:job, :attempt);\n\
    SELECT nebula.complete_job(:job, :attempt);\n";

const FAIL: &str = "SELECT job_id AS job, attempt FROM nebula.claim_jobs('pgbench', '{bench}') \\gset\n\
    SELECT nebula.fail_job(:job, :attempt, 'bench');\n";

/// Whether the extension has the setting; it is known once the library is loaded into the session.
async fn has_setting(database: &Database) -> Result<bool> {
    let client = database.connect().await?;
    client.query("SELECT count(*) FROM nebula.pool_usage()", &[]).await?;
    let find = "SELECT FROM pg_settings WHERE name = 'nebula.direct_writes'";
    Ok(client.query_opt(find, &[]).await?.is_some())
}

/// Measures a script in sessions with the setting on and off; the first result is that of on.
async fn compare(
    harness: &Harness,
    database: &Database,
    script: &str,
    load: Load,
    prepare: impl AsyncFn() -> Result<()>,
) -> Result<[Sums; 2]> {
    let admin = harness.cluster.named("postgres").connect().await?;
    let mut sums = [Sums::default(); 2];
    for _ in 0..ROUNDS {
        for (value, sum) in ["on", "off"].into_iter().zip(&mut sums) {
            let set = format!("ALTER DATABASE {} SET nebula.direct_writes = {value}", database.name());
            admin.batch_execute(&set).await?;
            prepare().await?;
            let begun = cpu::server(&harness.cluster)?;
            let run = pgbench(&harness.cluster, database, script, load, harness.settings.seconds)?;
            sum.processor += cpu::server(&harness.cluster)? - begun;
            sum.transactions += run.transactions;
            sum.seconds += run.seconds;
        }
    }
    Ok(sums)
}

fn row(name: &str, load: Load, [on, off]: [Sums; 2]) {
    println!(
        "| {name} | {load} | {:.0}/s | {:.0}/s | {:.2} | {:.0} µs | {:.0} µs | {:.0} % |",
        on.rate(),
        off.rate(),
        on.rate() / off.rate(),
        on.cost(),
        off.cost(),
        (1.0 - on.cost() / off.cost()) * 100.0
    );
}
