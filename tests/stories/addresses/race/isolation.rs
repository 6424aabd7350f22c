//! REPEATABLE READ and SERIALIZABLE: the correct answer, or 40001 and a retry.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use nebula_tests::invariants;
use tokio::sync::Barrier;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{EXHAUSTED, allocate, balanced, databases, pool};

const SESSIONS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn retrying_serialization_failures_ends_with_an_address() -> Result<()> {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for database in databases().await? {
            // Four addresses each would fill the pool exactly; some are released.
            let project = pool(&database, "10.1.0.0/26").await?;
            let start = Arc::new(Barrier::new(SESSIONS));
            let sessions = (0..SESSIONS).map(|_| {
                let (database, start) = (database.clone(), start.clone());
                tokio::spawn(async move {
                    let client = database.connect().await?;
                    client.batch_execute(&format!("SET default_transaction_isolation = '{level}'")).await?;
                    start.wait().await;
                    let mut held = Vec::new();
                    while held.len() < 3 {
                        let device = Uuid::new_v4();
                        client.batch_execute("BEGIN; SELECT count(*) FROM nebula.allocation").await?;
                        let answer = client
                            .query_one("SELECT host(nebula.allocate_ip($1, $2))", &[&project, &device])
                            .await;
                        let ended = client.batch_execute("COMMIT").await;
                        match (answer, ended) {
                            (Ok(row), Ok(())) => held.push((device, row.get::<_, String>(0))),
                            (Err(error), _) | (_, Err(error)) => {
                                ensure!(
                                    error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE),
                                    "{error:?}"
                                );
                            }
                        }
                    }
                    Ok(held)
                })
            });
            let mut held = Vec::new();
            for session in try_join_all(sessions).await? {
                held.extend(session?);
            }
            let distinct: HashSet<_> = held.iter().map(|(_, ip)| ip).collect();
            assert_eq!(distinct.len(), SESSIONS * 3, "{level}");
            let client = database.connect().await?;
            assert_eq!(balanced(&client, project).await?, (48, 14), "{level}");
            assert_eq!(invariants::exhaust(&client, project).await?.len(), 14);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocation_whose_commit_fails_hides_no_address() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/29").await?;
        let (first, second) = (database.connect().await?, database.connect().await?);
        allocate(&first, project).await?;
        first.batch_execute("CREATE TABLE doctor (name text, on_call bool)").await?;
        first.batch_execute("INSERT INTO doctor VALUES ('a', true), ('b', true)").await?;
        for (client, name) in [(&first, "a"), (&second, "b")] {
            client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM doctor").await?;
            client.batch_execute(&format!("UPDATE doctor SET on_call = false WHERE name = '{name}'")).await?;
        }
        assert_eq!(allocate(&second, project).await?, "10.1.0.2");
        first.batch_execute("COMMIT").await?;
        let refused = second.batch_execute("COMMIT").await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{refused:?}");
        // The server sends the error before it has rolled back, and takes the next statement afterwards.
        second.batch_execute("SELECT").await?;
        assert_eq!(balanced(&first, project).await?, (1, 5));
        assert_eq!(allocate(&first, project).await?, "10.1.0.2");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_gets_no_false_exhaustion() -> Result<()> {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for database in databases().await? {
            let project = pool(&database, "10.1.0.0/30").await?;
            let (old, other) = (database.connect().await?, database.connect().await?);
            let device = Uuid::new_v4();
            other.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &device]).await?;
            allocate(&other, project).await?;
            let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM nebula.allocation");
            old.batch_execute(&begin).await?;
            other.execute("SELECT nebula.release_ip($1)", &[&device]).await?;
            // One address is free, but the snapshot does not show it as free.
            match allocate(&old, project).await {
                Ok(ip) => assert_eq!(ip, "10.1.0.1"),
                Err(error) => {
                    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}");
                    old.batch_execute("ROLLBACK; BEGIN").await?;
                    assert_eq!(allocate(&old, project).await?, "10.1.0.1");
                }
            }
            old.batch_execute("COMMIT").await?;
            assert_eq!(allocate(&other, project).await.unwrap_err().code(), Some(&EXHAUSTED));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_skips_an_uncommitted_release() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/29").await?;
        let [writer, giver, taker] =
            [database.connect().await?, database.connect().await?, database.connect().await?];
        // Loads the pool into the map before a row is inserted by plain SQL, which the map does not see.
        assert_eq!(allocate(&writer, project).await?, "10.1.0.1");
        let device = Uuid::new_v4();
        let insert = "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by)
                      SELECT project_id, pool_id, '10.1.0.2', $2, 'hand' FROM nebula.pool
                       WHERE project_id = $1";
        writer.execute(insert, &[&project, &device]).await?;
        giver.batch_execute(&format!("BEGIN; SELECT nebula.release_ip('{device}')")).await?;
        taker.batch_execute("SET lock_timeout = '5s'; BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        assert_eq!(allocate(&taker, project).await?, "10.1.0.3");
        taker.batch_execute("COMMIT").await?;
        giver.batch_execute("COMMIT").await?;
        assert_eq!(balanced(&writer, project).await?, (2, 4));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_is_exhausted_at_every_level() -> Result<()> {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for database in databases().await? {
            let project = pool(&database, "10.1.0.0/30").await?;
            let (old, other) = (database.connect().await?, database.connect().await?);
            let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM nebula.allocation");
            // The snapshot shows a free pool: its addresses are taken afterwards.
            old.batch_execute(&begin).await?;
            allocate(&other, project).await?;
            allocate(&other, project).await?;
            for snapshot in ["older than the rows", "fresh"] {
                let refused = allocate(&old, project).await.unwrap_err();
                assert_eq!(refused.code(), Some(&EXHAUSTED), "{level}, {snapshot}: {refused:?}");
                old.batch_execute("ROLLBACK").await?;
                old.batch_execute(&begin).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_allocates_from_the_pool_as_it_is_now() -> Result<()> {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for database in databases().await? {
            let project = pool(&database, "10.1.0.0/30").await?;
            let (old, other) = (database.connect().await?, database.connect().await?);
            let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM nebula.allocation");
            old.batch_execute(&begin).await?;
            let extend = "SELECT nebula.extend_pool($1, 'default', '10.1.0.0/29')";
            other.execute(extend, &[&project]).await?;
            // The first allocation reads the page into the map, for all sessions.
            assert_eq!(allocate(&old, project).await?, "10.1.0.1");
            old.batch_execute("COMMIT").await?;
            // The addresses that were added are in the map, not hidden.
            assert_eq!(balanced(&other, project).await?, (1, 5), "{level}");
            assert_eq!(invariants::exhaust(&other, project).await?.len(), 5, "{level}");
        }
    }
    Ok(())
}
