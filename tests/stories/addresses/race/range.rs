//! Operations that take a lock and then read, in transactions whose snapshot is older than the lock: the
//! correct answer, or 40001 and a retry.

use anyhow::{Result, bail};
use nebula_tests::cluster::Database;
use nebula_tests::invariants;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{allocate, balanced, databases, pool};

const LEVELS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];

/// A session with an open transaction of this isolation level that has taken its snapshot.
async fn old(database: &Database, level: &str) -> Result<Client> {
    let client = database.connect().await?;
    client
        .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM nebula.allocation"))
        .await?;
    Ok(client)
}

/// Runs a statement; `None` is a serialization failure.
async fn attempt(client: &Client, sql: &str) -> Result<Option<String>> {
    match client.query_one(&format!("SELECT ({sql})::text"), &[]).await {
        Ok(row) => Ok(Some(row.get::<_, Option<String>>(0).unwrap_or_default())),
        Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Runs a statement in new transactions until one is not refused. Tests in other databases of the cluster
/// end transactions all the time, and any that ends between the snapshot and the lock refuses a try.
async fn retried(client: &Client, level: &str, sql: &str) -> Result<String> {
    for _ in 0..100 {
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await?;
        let answer = attempt(client, sql).await?;
        client.batch_execute(if answer.is_some() { "COMMIT" } else { "ROLLBACK" }).await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
    bail!("refused a hundred times: {sql}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_never_reserved_over_a_held_address() -> Result<()> {
    for level in LEVELS {
        for database in databases().await? {
            let project = pool(&database, "10.1.0.0/24").await?;
            let reserve = format!("SELECT first FROM nebula.reserve_range('{project}', 'cameras', 4)");
            let other = database.connect().await?;
            let client = old(&database, level).await?;
            assert_eq!(allocate(&other, project).await?, "10.1.0.1");
            if let Some(first) = attempt(&client, &reserve).await? {
                assert_ne!(first, "10.1.0.1/32", "{level}: held");
            }
            client.batch_execute("ROLLBACK").await?;
            assert_eq!(retried(&client, level, &reserve).await?, "10.1.0.2/32", "{level}");
            assert_eq!(allocate(&other, project).await?, "10.1.0.6");
            assert_eq!(balanced(&other, project).await?.0, 2);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn shrinking_and_dropping_are_refused_for_addresses_the_snapshot_does_not_show() -> Result<()> {
    for level in LEVELS {
        for database in databases().await? {
            let other = database.connect().await?;
            for change in [
                "nebula.drop_pool('PROJECT', 'default')",
                "nebula.shrink_pool('PROJECT', 'default', '10.1.0.128/25')",
                "nebula.exclude_addresses('PROJECT', 'x', '10.1.0.1')",
            ] {
                let project = pool(&database, "10.1.0.0/24").await?;
                let client = old(&database, level).await?;
                allocate(&other, project).await?;
                let sql = format!("SELECT {}", change.replace("PROJECT", &project.to_string()));
                assert_eq!(attempt(&client, &sql).await?, None, "{level}: {change}");
                client.batch_execute("ROLLBACK; BEGIN").await?;
                let refused = client.batch_execute(&sql).await.unwrap_err();
                assert_eq!(refused.code(), Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE), "{refused:?}");
                invariants::check(&other, project).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_concurrent_transactions_never_overlap() -> Result<()> {
    for level in LEVELS {
        for database in databases().await? {
            let project = pool(&database, "10.1.0.0/24").await?;
            let populate = |name: &str, cidr: &str| {
                format!("SELECT nebula.populate_pool('{project}', '{cidr}', '{name}')")
            };
            let (client, other) = (old(&database, level).await?, database.connect().await?);
            other.batch_execute(&populate("other", "10.2.0.0/24")).await?;
            assert_eq!(attempt(&client, &populate("mine", "10.2.0.0/16")).await?, None, "{level}");
            client.batch_execute("ROLLBACK; BEGIN").await?;
            let refused = client.batch_execute(&populate("mine", "10.2.0.0/16")).await.unwrap_err();
            assert_eq!(refused.code(), Some(&SqlState::UNIQUE_VIOLATION), "{refused:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_takes_no_held_address_of_a_range() -> Result<()> {
    for level in LEVELS {
        for database in databases().await? {
            let project = pool(&database, "10.1.0.0/24").await?;
            let other = database.connect().await?;
            let reserve = format!("SELECT first FROM nebula.reserve_range('{project}', 'cameras', 2)");
            other.batch_execute(&reserve).await?;
            let take = || {
                format!("SELECT nebula.allocate_ip('{project}', '{}', label => 'cameras')", Uuid::new_v4())
            };
            let client = old(&database, level).await?;
            assert_eq!(attempt(&other, &take()).await?.as_deref(), Some("10.1.0.1/32"));
            // The snapshot still shows the whole range as free.
            let ip = attempt(&client, &take()).await?;
            assert!([None, Some("10.1.0.2/32")].contains(&ip.as_deref()), "{level}: {ip:?}");
            client.batch_execute("ROLLBACK; BEGIN").await?;
            assert_eq!(attempt(&client, &take()).await?.as_deref(), Some("10.1.0.2/32"), "{level}");
            client.batch_execute("COMMIT").await?;
            assert_eq!(balanced(&other, project).await?, (2, 252));
        }
    }
    Ok(())
}
