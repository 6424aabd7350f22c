//! Two-phase commit: a prepared transaction belongs to no session, may last for days, and survives a restart.

use anyhow::Result;
use nebula_tests::cluster::{Cluster, PRELOAD};
use nebula_tests::invariants;
use nebula_tests::session::{pid, until_blocked};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{EXHAUSTED, allocate, balanced, databases, pool};

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_allocation_blocks_its_address_until_decided() -> Result<()> {
    for database in databases().await? {
        for decision in ["COMMIT", "ROLLBACK"] {
            let project = pool(&database, "10.1.0.0/30").await?;
            let (holder, waiter) = (database.connect().await?, database.connect().await?);
            allocate(&waiter, project).await?;
            holder.batch_execute("BEGIN").await?;
            assert_eq!(allocate(&holder, project).await?, "10.1.0.2");
            holder.batch_execute(&format!("PREPARE TRANSACTION '{project}'")).await?;
            // A prepared transaction does not depend on the session that prepared it.
            drop(holder);
            let waiter_pid = pid(&waiter).await?;
            let waiting = tokio::spawn(async move { allocate(&waiter, project).await });
            let observer = database.connect().await?;
            until_blocked(&observer, waiter_pid).await?;
            observer.batch_execute(&format!("{decision} PREPARED '{project}'")).await?;
            match (decision, waiting.await?) {
                ("COMMIT", Err(error)) => assert_eq!(error.code(), Some(&EXHAUSTED), "{error:?}"),
                ("ROLLBACK", Ok(ip)) => assert_eq!(ip, "10.1.0.2"),
                (_, answer) => panic!("{decision}: {answer:?}"),
            }
            assert_eq!(balanced(&observer, project).await?, (2, 0));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_release_frees_the_address_at_commit() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/30").await?;
        let (client, other) = (database.connect().await?, database.connect().await?);
        let device = Uuid::new_v4();
        client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &device]).await?;
        allocate(&client, project).await?;
        client.batch_execute(&format!("BEGIN; SELECT nebula.release_ip('{device}')")).await?;
        client.batch_execute(&format!("PREPARE TRANSACTION '{project}'")).await?;
        other.batch_execute("SET lock_timeout = '50ms'").await?;
        let error = allocate(&other, project).await.unwrap_err();
        let refused = [Some(&EXHAUSTED), Some(&SqlState::LOCK_NOT_AVAILABLE)];
        assert!(refused.contains(&error.code()), "not before it commits: {error:?}");
        client.batch_execute(&format!("COMMIT PREPARED '{project}'")).await?;
        // One session has found the pool exhausted before, the other has not.
        assert_eq!(allocate(&other, project).await?, "10.1.0.1");
        assert_eq!(allocate(&client, project).await.unwrap_err().code(), Some(&EXHAUSTED));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_transactions_survive_a_restart() -> Result<()> {
    for preload in ["", PRELOAD] {
        let mut cluster = Cluster::start(&["fsync=off", "max_prepared_transactions=5", preload]).await?;
        let database = cluster.database().await?;
        let project = pool(&database, "10.1.0.0/29").await?;
        let client = database.connect().await?;
        client.batch_execute("BEGIN").await?;
        assert_eq!(allocate(&client, project).await?, "10.1.0.1");
        client.batch_execute("PREPARE TRANSACTION 'a'; BEGIN").await?;
        assert_eq!(allocate(&client, project).await?, "10.1.0.2");
        client.batch_execute("PREPARE TRANSACTION 'b'").await?;
        cluster.crash().await?;
        cluster.resume().await?;
        let client = database.connect().await?;
        client.batch_execute("COMMIT PREPARED 'a'").await?;
        client.batch_execute("ROLLBACK PREPARED 'b'").await?;
        assert_eq!(balanced(&client, project).await?, (1, 5));
        assert_eq!(invariants::exhaust(&client, project).await?.len(), 5);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_prepared_before_a_crash_frees_the_address_at_commit() -> Result<()> {
    for preload in ["", PRELOAD] {
        let mut cluster = Cluster::start(&["fsync=off", "max_prepared_transactions=5", preload]).await?;
        let database = cluster.database().await?;
        let project = pool(&database, "10.1.0.0/29").await?;
        let client = database.connect().await?;
        let device = Uuid::new_v4();
        client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &device]).await?;
        client.batch_execute(&format!("BEGIN; SELECT nebula.release_ip('{device}')")).await?;
        client.batch_execute("PREPARE TRANSACTION 'a'").await?;
        cluster.crash().await?;
        cluster.resume().await?;
        let client = database.connect().await?;
        // The map is built here, before the prepared transaction is decided.
        assert_eq!(allocate(&client, project).await?, "10.1.0.2");
        client.batch_execute("COMMIT PREPARED 'a'").await?;
        assert_eq!(allocate(&client, project).await?, "10.1.0.1");
        assert_eq!(balanced(&client, project).await?, (2, 4));
    }
    Ok(())
}
