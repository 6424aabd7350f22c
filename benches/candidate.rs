//! Ways to allocate addresses, side by side: the extension, and baselines in SQL, written from their
//! descriptions.

use anyhow::Result;
use nebula_tests::cluster::Database;
use tokio_postgres::Client;

use crate::harness::{Harness, has};
use crate::load::{Load, Run, first_calls, pgbench, pgbench_times};

/// Chooses a device without an address. The client does it, because a random number costs the server as much
/// as an index look-up, which the floor does not pay.
pub(crate) const NEW_DEVICE: &str = "\\set device random(1, 9000000000000000000)\n";
/// The device chosen by [`NEW_DEVICE`], as an SQL expression.
pub(crate) const DEVICE: &str = "lpad(to_hex(:device::bigint), 32, '0')::uuid";

/// One way to allocate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Name in the tables.
    pub(crate) name: &'static str,
    /// Defines `baseline.populate`, `baseline.allocate` and `baseline.release`; none for the extension.
    sql: Option<&'static str>,
}

/// The extension.
pub(crate) const NEBULA: Candidate = Candidate { name: "pg_nebula", sql: None };

/// A row for each address, the lowest free one locked with SKIP LOCKED.
pub(crate) const TEXTBOOK: Candidate =
    Candidate { name: "row per address, SKIP LOCKED", sql: Some(include_str!("baselines/textbook.sql")) };

/// Blocks of 256 bits.
pub(crate) const BITMAP: Candidate =
    Candidate { name: "bitmap blocks, SKIP LOCKED", sql: Some(include_str!("baselines/bitmap.sql")) };

/// All candidates, the extension first.
pub(crate) const ALL: [Candidate; 6] = [
    NEBULA,
    BITMAP,
    TEXTBOOK,
    Candidate {
        name: "highest + 1, retry",
        sql: Some(concat!(include_str!("baselines/holding.sql"), include_str!("baselines/highest.sql"))),
    },
    Candidate {
        name: "advisory lock, probe",
        sql: Some(concat!(include_str!("baselines/holding.sql"), include_str!("baselines/advisory.sql"))),
    },
    Candidate {
        name: "random, ten tries",
        sql: Some(concat!(include_str!("baselines/holding.sql"), include_str!("baselines/random.sql"))),
    },
];

impl Candidate {
    /// A fresh database with a pool 10.0.0.0/`prefix`, of which `full` percent is held at random places.
    pub(crate) async fn ready(self, harness: &Harness, prefix: u32, full: u32) -> Result<Database> {
        let database = harness.cluster.database().await?;
        let client = database.connect().await?;
        let share = f64::from(full) / 100.0;
        match self.sql {
            Some(sql) => {
                client.batch_execute(sql).await?;
                client.batch_execute(&format!("SELECT baseline.populate({prefix}, {share})")).await?;
            }
            None => {
                client.batch_execute(&nebula(prefix)).await?;
                client.batch_execute(&hold(prefix, share, "md5(n::text)::uuid")).await?;
            }
        }
        client.batch_execute("VACUUM ANALYZE").await?;
        self.warm(&client).await?;
        Ok(database)
    }

    /// Loads the map and allocates and releases once, because only the first call after a restart pays for
    /// that.
    async fn warm(self, client: &Client) -> Result<()> {
        if self.sql.is_none() && has(client, "warm_map").await? {
            client.batch_execute("SELECT nebula.warm_map(pool_id) FROM nebula.pool").await?;
        }
        let device = "00000000-0000-4000-8000-000000000000";
        client.batch_execute(&self.allocate(&format!("'{device}'"))).await?;
        client.batch_execute(&self.release(&format!("'{device}'"))).await?;
        Ok(())
    }

    /// Statement that allocates for a device, given as an SQL expression.
    pub(crate) fn allocate(self, device: &str) -> String {
        match self.sql {
            Some(_) => format!("SELECT baseline.allocate({device});"),
            None => format!("SELECT nebula.allocate_ip('{PROJECT}', {device});"),
        }
    }

    /// Statement that releases.
    pub(crate) fn release(self, device: &str) -> String {
        match self.sql {
            Some(_) => format!("SELECT baseline.release({device});"),
            None => format!("SELECT nebula.release_ip({device});"),
        }
    }

    /// Measures allocations for new devices; repeats with a fresh pool when it is exhausted before the time
    /// is over.
    pub(crate) async fn measure(self, harness: &Harness, load: Load, prefix: u32, full: u32) -> Result<Run> {
        const ROUNDS: u32 = 4;
        /// An upper bound of allocations per second.
        const MAX_RATE: f64 = 60_000.0;
        let seconds = f64::from(harness.settings.seconds);
        let script = format!("{NEW_DEVICE}{}", self.allocate(DEVICE));
        let mut sum = Run::default();
        for _ in 0..ROUNDS {
            let database = self.ready(harness, prefix, full).await?;
            let before = self.held(&database).await?;
            let first = first_calls(&harness.cluster, &database, &script, load)?;
            // Ends before the pool is exhausted, because otherwise a run would mostly measure the search for
            // the last addresses.
            let free = f64::from(1_u32 << (32 - prefix)) * (1.0 - f64::from(full) / 100.0);
            let mut run = if free < seconds * MAX_RATE {
                let times = (free * 0.8) as u32 / load.clients;
                pgbench_times(&harness.cluster, &database, &script, load, times.max(1))?
            } else {
                pgbench(&harness.cluster, &database, &script, load, harness.settings.seconds)?
            };
            // Counts addresses instead of commits, because some baselines give up.
            run.transactions = (self.held(&database).await? - before) as f64 - first.transactions;
            if run.exhausted {
                // In so short a run the cost of each session's first call would dominate, so it is
                // subtracted.
                run.transactions -= first.transactions;
                run.seconds = (run.seconds - first.seconds).max(f64::EPSILON);
            }
            sum.transactions += run.transactions.max(0.0);
            sum.seconds += run.seconds;
            if sum.seconds > seconds / 2.0 {
                break;
            }
        }
        Ok(sum)
    }

    async fn held(self, database: &Database) -> Result<i64> {
        let count = match self.sql {
            Some(_) => "SELECT baseline.held()",
            None => "SELECT count(*) FROM nebula.allocation",
        };
        Ok(database.connect().await?.query_one(count, &[]).await?.get(0))
    }

    /// Sizes in bytes of the allocation table with its indexes, and of the log.
    pub(crate) async fn size(self, client: &Client) -> Result<(i64, i64)> {
        let size = match self.sql {
            Some(_) => "SELECT baseline.size(), pg_total_relation_size('baseline.log')",
            None => {
                "SELECT pg_total_relation_size('nebula.allocation'),
                  pg_total_relation_size('nebula.allocation_log')"
            }
        };
        let row = client.query_one(size, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }
}

/// Identifier of the measured project; fixed, so that scripts can contain it.
pub(crate) const PROJECT: &str = "00000000-0000-4000-8000-00000000bec4";

/// A project with an empty pool.
pub(crate) fn nebula(prefix: u32) -> String {
    format!(
        "INSERT INTO nebula.project (project_id, name) VALUES ('{PROJECT}', 'bench');
         SELECT nebula.populate_pool('{PROJECT}', '10.0.0.0/{prefix}')"
    )
}

/// Allocates a share of the pool's addresses to devices 1, 2, 3, … by plain SQL; `device` is the SQL
/// expression of device n.
pub(crate) fn hold(prefix: u32, share: f64, device: &str) -> String {
    let size = 1_u64 << (32 - prefix);
    format!(
        "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by)
         SELECT p.project_id, p.pool_id, '10.0.0.0'::inet + n, {device}, 'bench'
           FROM nebula.pool p, generate_series(1, {size} - 2) AS n
          WHERE p.project_id = '{PROJECT}' AND random() < {share}"
    )
}
