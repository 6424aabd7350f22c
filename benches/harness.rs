//! Harness of the measurements: a server, and the floor that rates are compared with.

use std::fmt;

use anyhow::Result;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::eventually;
use tokio_postgres::Client;

use crate::load::{Load, Run, pgbench};
use crate::settings::Settings;

/// The database that the background workers serve by default.
const SERVED_DATABASE: &str = "nebula";

/// A server with durable commits.
pub(crate) struct Harness {
    pub(crate) cluster: Cluster,
    pub(crate) settings: Settings,
    floor: Database,
}

/// The result of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Ratio of the rate to the floor.
    pub(crate) ratio: f64,
    /// Operations per second.
    pub(crate) rate: f64,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.0}/s)", self.ratio, self.rate)
    }
}

/// Sessions and durability of the columns that most tables have.
pub(crate) const COLUMNS: [Load; 6] = [
    Load { clients: 1, durable: true },
    Load { clients: 8, durable: true },
    Load { clients: 32, durable: true },
    Load { clients: 1, durable: false },
    Load { clients: 8, durable: false },
    Load { clients: 32, durable: false },
];

impl Harness {
    /// Starts the server.
    pub(crate) async fn prepare(settings: Settings) -> Result<Self> {
        let preload = if settings.preload { PRELOAD } else { "" };
        let cluster = Cluster::start(&[
            "shared_buffers = '1GB'",
            "max_wal_size = '16GB'",
            "checkpoint_timeout = '30min'",
            "max_connections = 400",
            preload,
        ])
        .await?;
        let floor = cluster.database().await?;
        let client = floor.connect().await?;
        client
            .batch_execute("CREATE TABLE floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
            .await?;
        Ok(Self { cluster, settings, floor })
    }

    /// The database of the background workers, with the extension. Elsewhere NOTIFY runs in the transactions that are
    /// measured, one at a time on the whole server.
    pub(crate) async fn served_database(&self) -> Result<(Database, Client)> {
        let database = self.cluster.named(SERVED_DATABASE);
        let client = match database.connect().await {
            Ok(client) => client,
            Err(_) => {
                self.cluster.empty_database(SERVED_DATABASE).await?;
                let client = database.connect().await?;
                client.batch_execute("CREATE EXTENSION pg_nebula").await?;
                database.grant().await?;
                client
            }
        };
        if self.settings.preload {
            eventually("the background worker to be there", || async {
                let find = "SELECT FROM pg_stat_activity
                             WHERE backend_type = 'pg_nebula notifier' AND datname = current_database()";
                Ok(client.query_opt(find, &[]).await?.map(drop))
            })
            .await?;
        }
        Ok((database, client))
    }

    /// The floor, per second: committed single-row inserts, the least that a durable answer costs.
    pub(crate) fn floor(&self, load: Load) -> Result<f64> {
        let seconds = (self.settings.seconds / 2).max(1);
        Ok(pgbench(&self.cluster, &self.floor, "INSERT INTO floor DEFAULT VALUES;", load, seconds)?.rate())
    }

    /// Measures `run` between two floors, because the speed of a shared machine changes.
    pub(crate) fn beside_floor(&self, load: Load, run: impl FnOnce() -> Result<Run>) -> Result<Cell> {
        let before = self.floor(load)?;
        let rate = run()?.rate();
        let after = self.floor(load)?;
        Ok(Cell { ratio: rate * 2.0 / (before + after), rate })
    }
}

/// Whether the extension has this function; the tables can also be made for older versions.
pub(crate) async fn has(client: &Client, function: &str) -> Result<bool> {
    let find = "SELECT FROM pg_proc WHERE proname = $1 AND pronamespace = 'nebula'::regnamespace";
    Ok(client.query_opt(find, &[&function]).await?.is_some())
}

/// Prints the head of a table: the first column, the six columns of loads, and `more`.
pub(crate) fn head(title: &str, first: &str, more: &[&str]) {
    println!("\n## {title}\n");
    let columns: Vec<String> = COLUMNS.iter().map(ToString::to_string).collect();
    let more = more.iter().map(ToString::to_string);
    let all: Vec<String> = columns.into_iter().chain(more).collect();
    println!("| {first} | {} |\n|---|{}", all.join(" | "), "---|".repeat(all.len()));
}
