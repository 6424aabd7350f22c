//! The job queue: enqueue, claim and complete, latency, a long transaction; beside a bare table and other
//! queues.

mod claim;
mod client;
mod enqueue;
mod latency;
mod long_transaction;

use anyhow::Result;
use nebula_tests::cluster::Database;
use tokio_postgres::Client;

use crate::harness::{Cell, Harness};
use crate::load::{Load, pgbench};

/// A queue in its own database.
pub(crate) struct Queue<'a> {
    harness: &'a Harness,
    pub(crate) database: Database,
    client: Client,
    pub(crate) sql: Statements,
}

/// The measured statements, as scripts for pgbench.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statements {
    name: &'static str,
    /// One job in one transaction.
    pub(crate) enqueue: &'static str,
    /// Enqueues `$1` jobs in one statement.
    fill: &'static str,
    /// Claims a job in one transaction and completes it in another.
    pub(crate) two_calls: &'static str,
    /// Removes all jobs.
    empty: &'static str,
}

const NEBULA: Statements = Statements {
    name: "pg_nebula",
    enqueue: "SELECT nebula.enqueue_job('bench', '{\"id\": 1}');\n",
    fill: "SELECT count(*) FROM nebula.enqueue_jobs('bench',
            array_fill('{\"id\": 1}'::jsonb, ARRAY[$1::integer]))",
    two_calls: "SELECT job_id AS job, attempt FROM nebula.claim_jobs('pgbench', '{bench}') \\gset\n\
                SELECT nebula.complete_job(:job, :attempt);\n",
    empty: "TRUNCATE nebula.job_waiting, nebula.job_running, nebula.job_finished",
};

const BARE: Statements = Statements {
    name: "bare table, SKIP LOCKED",
    enqueue: "INSERT INTO baseline.job (payload) VALUES ('{\"id\": 1}');\n",
    fill: "INSERT INTO baseline.job (payload) SELECT '{\"id\": 1}' FROM generate_series(1, $1::integer)",
    two_calls: concat!(
        include_str!("baselines/queue/claim.sql"),
        " \\gset\nDELETE FROM baseline.job WHERE id = :job;\n"
    ),
    empty: "TRUNCATE baseline.job",
};

impl<'a> Queue<'a> {
    /// The extension's queue, in the database of the background worker.
    pub(crate) async fn nebula(harness: &'a Harness) -> Result<Self> {
        let (database, client) = harness.served_database().await?;
        Ok(Self { harness, database, client, sql: NEBULA })
    }

    /// The bare table.
    async fn bare(harness: &'a Harness) -> Result<Self> {
        let database = harness.cluster.database().await?;
        let client = database.connect().await?;
        client.batch_execute(include_str!("baselines/queue/bare.sql")).await?;
        Ok(Self { harness, database, client, sql: BARE })
    }

    /// Both.
    async fn all(harness: &'a Harness) -> Result<[Self; 2]> {
        Ok([Self::nebula(harness).await?, Self::bare(harness).await?])
    }

    /// Resets the queue to `jobs` waiting jobs.
    pub(crate) async fn prepare(&self, jobs: u32) -> Result<()> {
        self.client.batch_execute(self.sql.empty).await?;
        self.fill(jobs).await?;
        self.client.batch_execute("VACUUM ANALYZE").await?;
        Ok(())
    }

    /// Enqueues `jobs` more, 10 000 a transaction.
    async fn fill(&self, jobs: u32) -> Result<()> {
        for begun in (0..jobs).step_by(10_000) {
            let some = i32::try_from((jobs - begun).min(10_000))?;
            self.client.execute(self.sql.fill, &[&some]).await?;
        }
        Ok(())
    }

    /// Measures a script and the floor before and after it.
    fn measure(&self, script: &str, load: Load) -> Result<Cell> {
        self.harness.beside_floor(load, || {
            pgbench(&self.harness.cluster, &self.database, script, load, self.harness.settings.seconds)
        })
    }
}

/// Prints the tables.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    enqueue::run(harness).await?;
    claim::run(harness).await?;
    latency::run(harness).await?;
    client::run(harness).await?;
    long_transaction::run(harness).await
}
