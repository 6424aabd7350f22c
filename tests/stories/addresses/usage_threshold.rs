//! Listeners of `nebula_pool` are notified of each threshold once, by the background worker or by the
//! allocation that crosses it.

use std::ops::RangeInclusive;

use anyhow::Result;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::eventually;
use nebula_tests::listener::Listener;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::database::background_worker::cluster_with_worker;

/// 30 assignable addresses: 80 % are 24, 90 % are 27, 95 % are 29.
const POOL: &str = "10.6.0.0/27";

struct Story {
    client: Client,
    listener: Listener,
    project: Uuid,
    devices: Vec<Uuid>,
}

impl Story {
    async fn begin(database: &Database) -> Result<Self> {
        let client = database.connect().await?;
        let project = pool(&client).await?;
        let devices = (0..30).map(|_| Uuid::new_v4()).collect();
        Ok(Self { listener: Listener::new(database, "nebula_pool").await?, client, project, devices })
    }

    /// Allocates for devices by their numbers, from 1.
    async fn allocate(&self, numbers: RangeInclusive<usize>) -> Result<()> {
        for number in numbers {
            let device = self.devices[number - 1];
            self.client.execute("SELECT nebula.allocate_ip($1, $2)", &[&self.project, &device]).await?;
        }
        Ok(())
    }

    async fn release(&self, numbers: RangeInclusive<usize>) -> Result<()> {
        for number in numbers {
            self.client.execute("SELECT nebula.release_ip($1)", &[&self.devices[number - 1]]).await?;
        }
        Ok(())
    }

    /// Project and threshold of the next notification.
    async fn next(&mut self) -> Result<(String, i64)> {
        parse(&self.listener.next().await?)
    }

    /// The next notification is of this threshold of this pool.
    async fn hears(&mut self, threshold: i64) -> Result<()> {
        assert_eq!(self.next().await?, (self.project.to_string(), threshold));
        Ok(())
    }

    /// No notification of this pool is pending: the next one to arrive is of another pool, which crosses its
    /// threshold here.
    async fn receives_nothing(&mut self) -> Result<()> {
        let other = pool(&self.client).await?;
        let allocate = "SELECT count(*) FROM nebula.allocate_ips($1, ARRAY(SELECT gen_random_uuid()
                         FROM generate_series(1, 24)))";
        self.client.query_one(allocate, &[&other]).await?;
        assert_eq!(self.next().await?, (other.to_string(), 80));
        Ok(())
    }
}

fn parse(heard: &str) -> Result<(String, i64)> {
    let heard: Value = serde_json::from_str(heard)?;
    Ok((
        heard["project"].as_str().unwrap_or_default().to_owned(),
        heard["threshold"].as_i64().unwrap_or_default(),
    ))
}

async fn pool(client: &Client) -> Result<Uuid> {
    let name = format!("alarm {}", Uuid::new_v4());
    let project = client.query_one("SELECT nebula.create_project($1)", &[&name]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, $2::text::inet)", &[&project, &POOL]).await?;
    Ok(project)
}

/// `scheduled`: only an explicit call of `maintain_pools` notices that usage has fallen.
async fn each_threshold_is_notified_once(database: &Database, scheduled: bool) -> Result<()> {
    let mut story = Story::begin(database).await?;
    story.allocate(1..=23).await?;
    story.receives_nothing().await?;
    story.allocate(24..=24).await?;
    story.hears(80).await?;
    for _ in 0..3 {
        story.allocate(25..=26).await?;
        story.release(25..=26).await?;
    }
    story.receives_nothing().await?;
    story.client.batch_execute("BEGIN").await?;
    story.allocate(25..=27).await?;
    story.client.batch_execute("ROLLBACK").await?;
    story.receives_nothing().await?;
    story.allocate(25..=27).await?;
    story.hears(90).await?;
    story.allocate(28..=28).await?;
    story.receives_nothing().await?;
    story.allocate(29..=30).await?;
    story.hears(95).await?;
    story.receives_nothing().await?;

    story.release(20..=30).await?;
    if scheduled {
        story.client.execute("SELECT nebula.maintain_pools()", &[]).await?;
    }
    let armed = "SELECT FROM nebula.pool WHERE project_id = $1 AND alarmed = 0";
    eventually("the alarm to be armed again", || async {
        Ok(story.client.query_opt(armed, &[&story.project]).await?)
    })
    .await?;
    // Two thresholds at once.
    story.client.batch_execute("BEGIN").await?;
    story.allocate(20..=27).await?;
    story.client.batch_execute("COMMIT").await?;
    story.hears(80).await?;
    story.hears(90).await?;
    story.receives_nothing().await?;
    assert_eq!(story.listener.rest().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_threshold_is_notified_once_without_preloading() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    each_threshold_is_notified_once(&cluster.database().await?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_threshold_is_notified_once_in_a_database_without_background_worker() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off", PRELOAD]).await?;
    each_threshold_is_notified_once(&cluster.database().await?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_threshold_is_notified_once_by_the_background_worker() -> Result<()> {
    let (_cluster, database) = cluster_with_worker(&[]).await?;
    each_threshold_is_notified_once(&database, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_threshold_is_notified_once_with_prepared_transactions() -> Result<()> {
    let (_cluster, database) = cluster_with_worker(&["max_prepared_transactions = 10"]).await?;
    each_threshold_is_notified_once(&database, false).await?;
    for decision in ["ROLLBACK", "COMMIT"] {
        let mut story = Story::begin(&database).await?;
        story.allocate(1..=23).await?;
        story.client.batch_execute("BEGIN").await?;
        story.allocate(24..=24).await?;
        story.client.batch_execute(&format!("PREPARE TRANSACTION '{decision}'")).await?;
        story.receives_nothing().await?;
        story.client.batch_execute(&format!("{decision} PREPARED '{decision}'")).await?;
        match decision {
            "COMMIT" => story.hears(80).await?,
            _ => story.receives_nothing().await?,
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncommitted_threshold_crossing_blocks_no_allocation() -> Result<()> {
    let plain = Cluster::start(&["fsync=off"]).await?;
    let (_worker, looked_after) = cluster_with_worker(&[]).await?;
    for database in [plain.database().await?, looked_after] {
        let mut story = Story::begin(&database).await?;
        story.allocate(1..=23).await?;
        story.client.batch_execute("BEGIN").await?;
        story.allocate(24..=25).await?;
        let other = database.connect().await?;
        other.batch_execute("SET lock_timeout = '1ms'").await?;
        for device in &story.devices[25..29] {
            other.execute("SELECT nebula.allocate_ip($1, $2)", &[&story.project, device]).await?;
        }
        story.client.batch_execute("COMMIT").await?;
        other.execute("SELECT nebula.maintain_pools()", &[]).await?;
        // Each is notified once, by one of the two sessions.
        for threshold in [80, 90, 95] {
            story.hears(threshold).await?;
        }
        story.receives_nothing().await?;
    }
    Ok(())
}
