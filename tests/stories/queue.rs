//! The job queue: every job ends once despite crashes, and no worker sleeps while a job waits.

mod altered_table;
mod claim_index;
mod crash;
mod fencing;
mod http;
mod input;
mod model;
mod policy;
mod pooler;
mod race;
mod wakeup;
mod worker;

use anyhow::Result;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::eventually;
use tokio_postgres::{Client, GenericClient};

/// The database that the background worker of [`cluster_with_worker`] clusters serves: it exists from the
/// start.
const SERVED_DATABASE: &str = "postgres";

/// A cluster for one test, and a database that its background worker, if any, serves.
async fn cluster_with_worker(preload: bool, settings: &[&str]) -> Result<(Cluster, Database)> {
    let look_after = format!("nebula.database = '{SERVED_DATABASE}'");
    let mut all = settings.to_vec();
    if preload {
        all.extend([PRELOAD, &look_after]);
    }
    let cluster = Cluster::start(&all).await?;
    let database = cluster.named(SERVED_DATABASE);
    let client = database.connect().await?;
    client.batch_execute("CREATE EXTENSION pg_nebula").await?;
    database.grant().await?;
    if preload {
        notifier(&client).await?;
    }
    Ok((cluster, database))
}

/// Process id of the notifier, once it runs.
async fn notifier(client: &Client) -> Result<i32> {
    eventually("the background worker to be there", || async {
        let find = "SELECT pid FROM pg_stat_activity
                     WHERE backend_type = 'pg_nebula notifier' AND datname = current_database()";
        Ok(client.query_opt(find, &[]).await?.map(|row| row.get(0)))
    })
    .await
}

async fn enqueue(client: &impl GenericClient, kind: &str) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one("SELECT nebula.enqueue_job($1, '{}')", &[&kind]).await?.get(0))
}

/// Claims up to `max` jobs of a kind; answers their identifiers and attempts in the order of the claim.
async fn claim(
    client: &impl GenericClient,
    kind: &str,
    max: i32,
) -> Result<Vec<(i64, i32)>, tokio_postgres::Error> {
    let sql = "SELECT job_id, attempt FROM nebula.claim_jobs('story', ARRAY[$1], $2)";
    Ok(client.query(sql, &[&kind, &max]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn state(client: &impl GenericClient, job: i64) -> Result<String, tokio_postgres::Error> {
    Ok(client.query_one("SELECT state FROM nebula.job_status WHERE job_id = $1", &[&job]).await?.get(0))
}

/// Waits until a job is in a state.
async fn becomes(client: &Client, job: i64, wanted: &str) -> Result<()> {
    eventually(&format!("job {job} to be {wanted}"), || async {
        Ok((state(client, job).await? == wanted).then_some(()))
    })
    .await
}
