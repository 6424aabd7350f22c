//! Ways to allocate addresses, side by side: the extension, and its peers as SQL written from descriptions of them.

use anyhow::Result;
use nebula_tests::cluster::Database;
use tokio_postgres::Client;

use crate::ground::{Ground, has};
use crate::load::{Load, Run, first_calls, pgbench, pgbench_times};

/// Chooses a device that holds nothing yet; by the client, because a random number costs the server as much as an index
/// look-up, which the floor does not pay.
pub(crate) const NEW_DEVICE: &str = "\\set device random(1, 9000000000000000000)\n";
/// That device, as an SQL expression.
pub(crate) const DEVICE: &str = "lpad(to_hex(:device::bigint), 32, '0')::uuid";

/// One way to allocate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// As the tables show it.
    pub(crate) name: &'static str,
    /// Functions `peer.populate`, `peer.allocate`, `peer.release`; none for the extension.
    sql: Option<&'static str>,
}

/// The extension.
pub(crate) const NEBULA: Contender = Contender { name: "pg_nebula", sql: None };

/// A row for each address, the lowest free one locked with SKIP LOCKED.
pub(crate) const TEXTBOOK: Contender =
    Contender { name: "row per address, SKIP LOCKED", sql: Some(include_str!("peers/textbook.sql")) };

/// Blocks of 256 bits.
pub(crate) const BITMAP: Contender =
    Contender { name: "bitmap blocks, SKIP LOCKED", sql: Some(include_str!("peers/bitmap.sql")) };

/// Everybody, the extension first.
pub(crate) const ALL: [Contender; 6] = [
    NEBULA,
    BITMAP,
    TEXTBOOK,
    Contender {
        name: "highest + 1, retry",
        sql: Some(concat!(include_str!("peers/holding.sql"), include_str!("peers/highest.sql"))),
    },
    Contender {
        name: "advisory lock, probe",
        sql: Some(concat!(include_str!("peers/holding.sql"), include_str!("peers/advisory.sql"))),
    },
    Contender {
        name: "random, ten tries",
        sql: Some(concat!(include_str!("peers/holding.sql"), include_str!("peers/random.sql"))),
    },
];

impl Contender {
    /// A fresh database with a pool 10.0.0.0/`prefix`, of which `full` percent is held at random places.
    pub(crate) async fn ready(self, ground: &Ground, prefix: u32, full: u32) -> Result<Database> {
        let database = ground.cluster.database().await?;
        let client = database.connect().await?;
        let share = f64::from(full) / 100.0;
        match self.sql {
            Some(sql) => {
                client.batch_execute(sql).await?;
                client.batch_execute(&format!("SELECT peer.populate({prefix}, {share})")).await?;
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

    /// The map read, and one allocation given back: what the first caller after a restart or a hand-made change pays, and
    /// nobody after it.
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
            Some(_) => format!("SELECT peer.allocate({device});"),
            None => format!("SELECT nebula.allocate_ip('{PROJECT}', {device});"),
        }
    }

    /// Statement that releases.
    pub(crate) fn release(self, device: &str) -> String {
        match self.sql {
            Some(_) => format!("SELECT peer.release({device});"),
            None => format!("SELECT nebula.release_ip({device});"),
        }
    }

    /// Allocations of new devices, at `load`; once more and more when the pool is full before the time is over.
    pub(crate) async fn measure(self, ground: &Ground, load: Load, prefix: u32, full: u32) -> Result<Run> {
        const ROUNDS: u32 = 4;
        /// Allocations a second that nobody reaches.
        const FASTEST: f64 = 60_000.0;
        let seconds = f64::from(ground.settings.seconds);
        let script = format!("{NEW_DEVICE}{}", self.allocate(DEVICE));
        let mut sum = Run::default();
        for _ in 0..ROUNDS {
            let database = self.ready(ground, prefix, full).await?;
            let before = self.held(&database).await?;
            let first = first_calls(&ground.cluster, &database, &script, load)?;
            // Nearly full, a run would end in the search for the last addresses, and measure little else.
            let free = f64::from(1_u32 << (32 - prefix)) * (1.0 - f64::from(full) / 100.0);
            let mut run = if free < seconds * FASTEST {
                let times = (free * 0.8) as u32 / load.clients;
                pgbench_times(&ground.cluster, &database, &script, load, times.max(1))?
            } else {
                pgbench(&ground.cluster, &database, &script, load, ground.settings.seconds)?
            };
            // Not all that commit have got an address: some peers give up.
            run.transactions = (self.held(&database).await? - before) as f64 - first.transactions;
            if run.exhausted {
                // So short a run is no place for what every session pays once.
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
            Some(_) => "SELECT peer.held()",
            None => "SELECT count(*) FROM nebula.allocation",
        };
        Ok(database.connect().await?.query_one(count, &[]).await?.get(0))
    }

    /// Bytes of what finds and holds addresses, and of the record of past ones.
    pub(crate) async fn size(self, client: &Client) -> Result<(i64, i64)> {
        let size = match self.sql {
            Some(_) => "SELECT peer.size(), pg_total_relation_size('peer.log')",
            None => {
                "SELECT pg_total_relation_size('nebula.allocation'), pg_total_relation_size('nebula.allocation_log')"
            }
        };
        let row = client.query_one(size, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }
}

/// Identifier of the project that is measured, fixed so that scripts can name it.
pub(crate) const PROJECT: &str = "00000000-0000-4000-8000-00000000bec4";

/// A project with an empty pool.
pub(crate) fn nebula(prefix: u32) -> String {
    format!(
        "INSERT INTO nebula.project (project_id, name) VALUES ('{PROJECT}', 'bench');
         SELECT nebula.populate_pool('{PROJECT}', '10.0.0.0/{prefix}')"
    )
}

/// Rows for a share of the pool's addresses, as if devices 1, 2, 3, … held them; `device` is the SQL for that of n.
pub(crate) fn hold(prefix: u32, share: f64, device: &str) -> String {
    let size = 1_u64 << (32 - prefix);
    format!(
        "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by)
         SELECT p.project_id, p.pool_id, '10.0.0.0'::inet + n, {device}, 'bench'
           FROM nebula.pool p, generate_series(1, {size} - 2) AS n
          WHERE p.project_id = '{PROJECT}' AND random() < {share}"
    )
}
