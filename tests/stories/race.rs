//! Many sessions, one pool: nothing twice, nothing lost, "exhausted" only when it is true.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::eventually;
use tokio::sync::Barrier;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

const SESSIONS: usize = 64;
const EXHAUSTED: SqlState = SqlState::CONFIGURATION_LIMIT_EXCEEDED;

async fn pool(database: &Database, cidr: &str) -> Result<Uuid> {
    let client = database.connect().await?;
    let project = client.query_one("SELECT nebula.create_project('race')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, $2::text::inet)", &[&project, &cidr]).await?;
    Ok(project)
}

async fn allocate(client: &Client, project: Uuid) -> Result<String, tokio_postgres::Error> {
    let row =
        client.query_one("SELECT host(nebula.allocate_ip($1, $2))", &[&project, &Uuid::new_v4()]).await?;
    Ok(row.get(0))
}

/// The law of every pool.
async fn balanced(client: &Client, project: Uuid) -> Result<(i64, i64)> {
    let row = client
        .query_one(
            "SELECT allocated::bigint, free::bigint, free + reserved + allocated + quarantined = size
               FROM nebula.pool_usage($1)",
            &[&project],
        )
        .await?;
    assert!(row.get::<_, bool>(2), "free + reserved + allocated + quarantined = size");
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_address_once_and_the_last_caller_is_told() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let project = pool(&database, "10.1.0.0/24").await?;
    let callers = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(SESSIONS));
    let sessions = (0..SESSIONS).map(|_| {
        let (database, callers, start) = (database.clone(), callers.clone(), start.clone());
        tokio::spawn(async move {
            let client = database.connect().await?;
            start.wait().await;
            let (mut held, mut refused) = (Vec::new(), 0);
            while callers.fetch_add(1, Ordering::Relaxed) < 255 {
                match allocate(&client, project).await {
                    Ok(ip) => held.push(ip),
                    Err(error) if error.code() == Some(&EXHAUSTED) => refused += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            anyhow::Ok((held, refused))
        })
    });
    let mut held = Vec::new();
    let mut refused = 0;
    for session in try_join_all(sessions).await? {
        let (some, no) = session?;
        held.extend(some);
        refused += no;
    }
    assert_eq!((held.len(), refused), (254, 1));
    assert_eq!(held.iter().collect::<HashSet<_>>().len(), 254, "no address twice");
    assert_eq!(balanced(&database.connect().await?, project).await?, (254, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_rolled_back_comes_back() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let project = pool(&database, "10.1.0.0/24").await?;
    let start = Arc::new(Barrier::new(SESSIONS));
    let sessions = (0..SESSIONS).map(|number| {
        let (database, start) = (database.clone(), start.clone());
        tokio::spawn(async move {
            let mut client = database.connect().await?;
            start.wait().await;
            let transaction = client.transaction().await?;
            for _ in 0..3 {
                let device = Uuid::new_v4();
                transaction.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &device]).await?;
            }
            if number % 2 == 0 {
                transaction.commit().await?
            } else {
                transaction.rollback().await?
            }
            anyhow::Ok(())
        })
    });
    for session in try_join_all(sessions).await? {
        session?;
    }
    let client = database.connect().await?;
    assert_eq!(balanced(&client, project).await?, (96, 158));
    for _ in 0..158 {
        allocate(&client, project).await?;
    }
    assert_eq!(allocate(&client, project).await.unwrap_err().code(), Some(&EXHAUSTED));
    assert_eq!(balanced(&client, project).await?, (254, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_flight_is_waited_for_not_called_exhausted() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let project = pool(&database, "10.1.0.0/30").await?;
    let (mut first, mut second) = (database.connect().await?, database.connect().await?);
    let (first, second) = (first.transaction().await?, second.transaction().await?);
    for holder in [&first, &second] {
        holder.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &Uuid::new_v4()]).await?;
    }
    let waiter = database.connect().await?;
    let waiter_pid: i32 = waiter.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let third = tokio::spawn(async move { allocate(&waiter, project).await });
    let observer = database.connect().await?;
    eventually("the third session to wait for the first two", || async {
        let waiting = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
        Ok(observer.query_opt(waiting, &[&waiter_pid]).await?)
    })
    .await?;
    second.rollback().await?;
    let ip = third.await??;
    assert_eq!(ip, "10.1.0.2");
    first.commit().await?;
    let full = database.connect().await?;
    assert_eq!(allocate(&full, project).await.unwrap_err().code(), Some(&EXHAUSTED));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lowest_free_address_is_taken_first() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let project = pool(&database, "10.1.0.0/24").await?;
    let client = database.connect().await?;
    let devices: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    for device in &devices {
        client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, device]).await?;
    }
    client.execute("SELECT nebula.release_ip($1)", &[&devices[1]]).await?;
    match allocate(&client, project).await?.as_str() {
        "10.1.0.2" => Ok(()),
        other => bail!("10.1.0.2 is the lowest free address, got {other}"),
    }
}
