//! Many sessions allocate from one pool: no address twice, none lost, "exhausted" only when no address is
//! free.
//!
//! Each test runs twice: with the extension preloaded and without.

mod batch;
mod check;
mod contest;
mod device;
mod first_read;
mod isolation;
mod prepared;
mod range;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::invariants;
use nebula_tests::session::{pid, until_blocked};
use tokio::sync::Barrier;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

const SESSIONS: usize = 64;
const EXHAUSTED: SqlState = SqlState::CONFIGURATION_LIMIT_EXCEEDED;

/// One fresh database without and one with the extension preloaded.
async fn databases() -> Result<[Database; 2]> {
    let [plain, preloaded] = Cluster::both().await?;
    Ok([plain.database().await?, preloaded.database().await?])
}

async fn pool(database: &Database, cidr: &str) -> Result<Uuid> {
    let client = database.connect().await?;
    let name = format!("race {}", Uuid::new_v4());
    let project = client.query_one("SELECT nebula.create_project($1)", &[&name]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, $2::text::inet)", &[&project, &cidr]).await?;
    Ok(project)
}

async fn allocate(client: &impl GenericClient, project: Uuid) -> Result<String, tokio_postgres::Error> {
    let row =
        client.query_one("SELECT host(nebula.allocate_ip($1, $2))", &[&project, &Uuid::new_v4()]).await?;
    Ok(row.get(0))
}

/// Checks the invariants; answers how many addresses are held and how many are free.
async fn balanced(client: &Client, project: Uuid) -> Result<(i64, i64)> {
    let usage = invariants::check(client, project).await?;
    Ok((usage.allocated, usage.free))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_allocations_are_distinct_and_exhaustion_is_reported() -> Result<()> {
    for database in databases().await? {
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
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolled_back_allocation_frees_the_address() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/24").await?;
        let start = Arc::new(Barrier::new(SESSIONS));
        let sessions = (0..SESSIONS).map(|number| {
            let (database, start) = (database.clone(), start.clone());
            tokio::spawn(async move {
                let mut client = database.connect().await?;
                start.wait().await;
                let mut transaction = client.transaction().await?;
                for device in 0..3 {
                    let savepoint = transaction.savepoint("a").await?;
                    allocate(&savepoint, project).await?;
                    // The third one is rolled back even where the transaction commits.
                    if device == 2 { savepoint.rollback().await? } else { savepoint.commit().await? }
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
        assert_eq!(balanced(&client, project).await?, (64, 190));
        assert_eq!(invariants::exhaust(&client, project).await?.len(), 190);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn allocation_waits_for_an_uncommitted_address_before_reporting_exhaustion() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/30").await?;
        let (mut first, mut second) = (database.connect().await?, database.connect().await?);
        let (first, second) = (first.transaction().await?, second.transaction().await?);
        for holder in [&first, &second] {
            holder.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &Uuid::new_v4()]).await?;
        }
        let waiter = database.connect().await?;
        let waiter_pid = pid(&waiter).await?;
        let third = tokio::spawn(async move { allocate(&waiter, project).await });
        let observer = database.connect().await?;
        until_blocked(&observer, waiter_pid).await?;
        second.rollback().await?;
        let ip = third.await??;
        assert_eq!(ip, "10.1.0.2");
        first.commit().await?;
        assert_eq!(allocate(&observer, project).await.unwrap_err().code(), Some(&EXHAUSTED));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lowest_free_address_is_taken_first() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/24").await?;
        let (client, other) = (database.connect().await?, database.connect().await?);
        let devices: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
        for device in &devices {
            client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, device]).await?;
        }
        other.execute("SELECT nebula.release_ip($1)", &[&devices[1]]).await?;
        match allocate(&client, project).await?.as_str() {
            "10.1.0.2" => {}
            ip => bail!("10.1.0.2 is the lowest free address, got {ip}"),
        }
    }
    Ok(())
}
