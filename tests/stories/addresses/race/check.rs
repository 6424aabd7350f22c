//! The consistency check beside sessions that allocate and release: uncommitted changes are no findings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use nebula_tests::session::{pid, until_blocked};
use nebula_tests::{invariants, rounds};
use uuid::Uuid;

use super::{EXHAUSTED, allocate, balanced, databases, pool};

const SESSIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn check_pool_has_no_false_findings_under_load() -> Result<()> {
    for database in databases().await? {
        // Small enough to be exhausted now and then.
        let project = pool(&database, "10.1.0.0/26").await?;
        let over = Arc::new(AtomicBool::new(false));
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|session| {
                let (database, over) = (database.clone(), over.clone());
                tokio::spawn(async move {
                    let client = database.connect().await?;
                    let devices: Vec<Uuid> = (0..12).map(|_| Uuid::new_v4()).collect();
                    let mut turn = session;
                    while !over.load(Ordering::Relaxed) {
                        let device = devices[turn % devices.len()];
                        turn += 1;
                        let end = if turn.is_multiple_of(3) { "ROLLBACK" } else { "COMMIT" };
                        client.batch_execute("BEGIN").await?;
                        let allocate = "SELECT nebula.allocate_ip($1, $2)";
                        let release = "SELECT nebula.release_ip($1)";
                        let done = match turn / devices.len() % 2 {
                            0 => client.execute(allocate, &[&project, &device]).await,
                            _ => client.execute(release, &[&device]).await,
                        };
                        if let Err(error) = done {
                            let expected = ["53400", "55000", "P0002", "40P01"];
                            let code = error.code().map_or("", |code| code.code());
                            ensure!(expected.contains(&code), "{error:?}");
                        }
                        client.batch_execute(end).await?;
                    }
                    Ok(())
                })
            })
            .collect();
        let observer = database.connect().await?;
        for _ in 0..rounds(60, 2000) {
            let found = "SELECT to_jsonb(c)::text FROM nebula.check_pool($1) c
                          WHERE problem IN ('map-hides', 'map-claims')";
            let found = observer.query(found, &[&project]).await?;
            assert!(found.is_empty(), "{}", found[0].get::<_, String>(0));
        }
        over.store(true, Ordering::Relaxed);
        for session in try_join_all(sessions).await? {
            session?;
        }
        invariants::exhaust(&observer, project).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_inserted_by_hand_and_rolled_back_hides_no_address() -> Result<()> {
    // Without the shared map, nothing tells a session of that rollback for some seconds.
    let [_, database] = databases().await?;
    let project = pool(&database, "10.1.0.0/29").await?;
    let (by_hand, other) = (database.connect().await?, database.connect().await?);
    // Reads the page into the map before the row is inserted.
    allocate(&other, project).await?;
    by_hand.batch_execute("BEGIN").await?;
    let insert = "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by)
                  SELECT project_id, pool_id, '10.1.0.2', $2, 'hand' FROM nebula.pool WHERE project_id = $1";
    by_hand.execute(insert, &[&project, &Uuid::new_v4()]).await?;
    assert_eq!(allocate(&other, project).await?, "10.1.0.3", "another transaction has inserted .2");
    by_hand.batch_execute("ROLLBACK").await?;
    assert_eq!(allocate(&other, project).await?, "10.1.0.2");
    assert_eq!(balanced(&other, project).await?, (3, 3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_waits_are_counted() -> Result<()> {
    let [_, database] = databases().await?;
    let project = pool(&database, "10.1.0.0/30").await?;
    let (mut holder, waiter) = (database.connect().await?, database.connect().await?);
    let observer = database.connect().await?;
    let status = async || {
        let counts = "SELECT m.in_flight, m.waits FROM nebula.map_status() m JOIN nebula.pool USING (pool_id)
                       WHERE project_id = $1";
        let row = observer.query_one(counts, &[&project]).await?;
        anyhow::Ok((row.get::<_, i64>(0), row.get::<_, i64>(1)))
    };
    allocate(&waiter, project).await?;
    assert_eq!(status().await?, (0, 0));
    let transaction = holder.transaction().await?;
    allocate(&transaction, project).await?;
    assert_eq!(status().await?, (1, 0));
    let waiter_pid = pid(&waiter).await?;
    let waiting = tokio::spawn(async move { allocate(&waiter, project).await });
    until_blocked(&observer, waiter_pid).await?;
    let (in_flight, waits) = status().await?;
    assert!(in_flight >= 1 && waits >= 1, "{in_flight} in flight, {waits} waits");
    transaction.commit().await?;
    assert_eq!(waiting.await?.unwrap_err().code(), Some(&EXHAUSTED));
    assert_eq!(status().await?.0, 0);
    assert_eq!(balanced(&observer, project).await?, (2, 0));
    Ok(())
}
