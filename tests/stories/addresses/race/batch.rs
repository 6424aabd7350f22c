//! Concurrent batches: with each other, with single allocations, and rolled back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use nebula_tests::cluster::Database;
use nebula_tests::invariants;
use tokio::sync::Barrier;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

use super::{EXHAUSTED, allocate, balanced, databases, pool};

const SESSIONS: usize = 12;

async fn batch(
    client: &impl GenericClient,
    project: Uuid,
    devices: &[Uuid],
) -> Result<HashMap<Uuid, String>, tokio_postgres::Error> {
    let call = "SELECT device_id, host(ip) FROM nebula.allocate_ips($1, $2)";
    let rows = client.query(call, &[&project, &devices]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn devices(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| Uuid::new_v4()).collect()
}

/// Runs `work` in several sessions that start at the same moment.
async fn all_at_once<T: Send + 'static, F>(
    database: &Database,
    work: impl Fn(usize, Client) -> F,
) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(SESSIONS));
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let work = work(number, database.connect().await?);
        let start = start.clone();
        sessions.push(tokio::spawn(async move {
            start.wait().await;
            work.await
        }));
    }
    try_join_all(sessions).await?.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_devices_in_many_batches_get_one_address_each() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/22").await?;
        let all = devices(30);
        let answers = all_at_once(&database, |_, client| {
            let all = all.clone();
            async move { Ok(batch(&client, project, &all).await?) }
        })
        .await?;
        for answer in &answers {
            assert_eq!(answer, &answers[0], "everybody is told the same");
        }
        let distinct: HashSet<&String> = answers[0].values().collect();
        assert_eq!(distinct.len(), 30);
        let client = database.connect().await?;
        assert_eq!(balanced(&client, project).await?, (30, 992));
        assert_eq!(invariants::exhaust(&client, project).await?.len(), 992, "nothing was lost");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_give_a_device_the_same_address() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/22").await?;
        // Each batch shares half of its devices with the next one. They are more than a transaction takes
        // address locks for.
        let all = Arc::new(devices(70 * (SESSIONS + 1)));
        let answers = all_at_once(&database, |number, client| {
            let all = all.clone();
            async move { Ok(batch(&client, project, &all[70 * number..70 * (number + 2)]).await?) }
        })
        .await?;
        let mut held: HashMap<Uuid, String> = HashMap::new();
        for (device, ip) in answers.into_iter().flatten() {
            assert_eq!(held.entry(device).or_insert_with(|| ip.clone()), &ip, "device {device}");
        }
        assert_eq!(held.values().collect::<HashSet<_>>().len(), all.len());
        let client = database.connect().await?;
        assert_eq!(balanced(&client, project).await?, (910, 112));
        assert_eq!(invariants::exhaust(&client, project).await?.len(), 112);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_and_single_allocations_share_a_pool_to_its_last_address() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/23").await?; // 510
        let answers = all_at_once(&database, |number, mut client| async move {
            let mut held = Vec::new();
            // Six sessions with 60 in batches, six with 25 one by one.
            if number % 2 == 0 {
                for _ in 0..2 {
                    held.extend(batch(&client, project, &devices(30)).await?.into_values());
                }
            } else {
                for single in 0..25 {
                    let transaction = client.transaction().await?;
                    let ip = allocate(&transaction, project).await?;
                    // Some are rolled back and repeated.
                    if single % 5 == 0 {
                        transaction.rollback().await?;
                        held.push(allocate(&client, project).await?);
                    } else {
                        transaction.commit().await?;
                        held.push(ip);
                    }
                }
            }
            Ok(held)
        })
        .await?;
        let held: Vec<String> = answers.into_iter().flatten().collect();
        assert_eq!(held.len(), 510);
        assert_eq!(held.iter().collect::<HashSet<_>>().len(), 510, "no address twice");
        let client = database.connect().await?;
        assert_eq!(balanced(&client, project).await?, (510, 0));
        let refused = batch(&client, project, &devices(2)).await.unwrap_err();
        assert_eq!(refused.code(), Some(&EXHAUSTED), "{refused:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_rolled_back_to_a_savepoint_frees_its_addresses() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/24").await?;
        let (mut client, other) = (database.connect().await?, database.connect().await?);
        // Few enough that others skip them without a shared map, too.
        let [first, undone, last] = [devices(10), devices(30), devices(10)];
        let mut transaction = client.transaction().await?;
        batch(&transaction, project, &first).await?;
        let savepoint = transaction.savepoint("a").await?;
        let gone = batch(&savepoint, project, &undone).await?;
        assert!(gone.values().any(|ip| ip == "10.1.0.40"));
        assert_eq!(allocate(&other, project).await?, "10.1.0.41", "in flight");
        savepoint.rollback().await?;
        assert_eq!(allocate(&other, project).await?, "10.1.0.11", "free again for all");
        let held = batch(&transaction, project, &last).await?;
        let expected: HashSet<String> = (12..22).map(|host| format!("10.1.0.{host}")).collect();
        assert_eq!(held.into_values().collect::<HashSet<_>>(), expected);
        transaction.commit().await?;
        assert_eq!(balanced(&other, project).await?, (22, 232));
        assert_eq!(invariants::exhaust(&other, project).await?.len(), 232);
    }
    Ok(())
}
