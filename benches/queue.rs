//! The job queue: enqueue, claim and complete, latency, a transaction held open; beside a bare table and its peers.

mod claim;
mod client;
mod enqueue;
mod held;
mod latency;

use anyhow::Result;
use nebula_tests::cluster::Database;
use nebula_tests::eventually;
use tokio_postgres::Client;

use crate::ground::{Cell, Ground};
use crate::load::{Load, pgbench};

/// The database that the background worker of a server looks after by default.
const ATTENDED: &str = "nebula";

/// One queue in a database of its own.
struct Queue<'a> {
    ground: &'a Ground,
    database: Database,
    client: Client,
    sql: Statements,
}

/// What is measured, as scripts for pgbench.
#[derive(Debug, Clone, Copy)]
struct Statements {
    name: &'static str,
    /// One job in one transaction.
    enqueue: &'static str,
    /// `$1` jobs, as one statement for a driver.
    fill: &'static str,
    /// One job, claimed in one transaction and finished in another.
    two_calls: &'static str,
    /// Nothing waits, runs or has finished.
    empty: &'static str,
}

const NEBULA: Statements = Statements {
    name: "pg_nebula",
    enqueue: "SELECT nebula.enqueue_job('bench', '{\"id\": 1}');\n",
    fill: "SELECT count(*) FROM nebula.enqueue_jobs('bench', array_fill('{\"id\": 1}'::jsonb, ARRAY[$1::integer]))",
    two_calls: "SELECT job_id AS job, attempt FROM nebula.claim_jobs('pgbench', '{bench}') \\gset\n\
                SELECT nebula.complete_job(:job, :attempt);\n",
    empty: "TRUNCATE nebula.job_waiting, nebula.job_running, nebula.job_finished",
};

const BARE: Statements = Statements {
    name: "bare table, SKIP LOCKED",
    enqueue: "INSERT INTO peer.job (payload) VALUES ('{\"id\": 1}');\n",
    fill: "INSERT INTO peer.job (payload) SELECT '{\"id\": 1}' FROM generate_series(1, $1::integer)",
    two_calls: concat!(
        include_str!("peers/queue/claim.sql"),
        " \\gset\nDELETE FROM peer.job WHERE id = :job;\n"
    ),
    empty: "TRUNCATE peer.job",
};

impl<'a> Queue<'a> {
    /// The extension's, in the database that is looked after.
    async fn nebula(ground: &'a Ground) -> Result<Self> {
        let database = ground.cluster.named(ATTENDED);
        let client = match database.connect().await {
            Ok(client) => client,
            Err(_) => {
                ground.cluster.empty_database(ATTENDED).await?;
                let client = database.connect().await?;
                client.batch_execute("CREATE EXTENSION pg_nebula").await?;
                database.grant().await?;
                client
            }
        };
        if ground.settings.preload {
            eventually("the background worker to be there", || async {
                let find = "SELECT FROM pg_stat_activity
                             WHERE backend_type = 'pg_nebula wakeup' AND datname = current_database()";
                Ok(client.query_opt(find, &[]).await?.map(drop))
            })
            .await?;
        }
        Ok(Self { ground, database, client, sql: NEBULA })
    }

    /// A table with an index.
    async fn bare(ground: &'a Ground) -> Result<Self> {
        let database = ground.cluster.database().await?;
        let client = database.connect().await?;
        client.batch_execute(include_str!("peers/queue/bare.sql")).await?;
        Ok(Self { ground, database, client, sql: BARE })
    }

    /// Both.
    async fn all(ground: &'a Ground) -> Result<[Self; 2]> {
        Ok([Self::nebula(ground).await?, Self::bare(ground).await?])
    }

    /// Leaves `jobs` waiting, and nothing else.
    async fn prepare(&self, jobs: u32) -> Result<()> {
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

    /// Runs a script beside the floor.
    fn measure(&self, script: &str, load: Load) -> Result<Cell> {
        self.ground.beside_floor(load, || {
            pgbench(&self.ground.cluster, &self.database, script, load, self.ground.settings.seconds)
        })
    }
}

/// Prints the tables.
pub(crate) async fn run(ground: &Ground) -> Result<()> {
    enqueue::run(ground).await?;
    claim::run(ground).await?;
    latency::run(ground).await?;
    client::run(ground).await?;
    held::run(ground).await
}
