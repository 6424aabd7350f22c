//! Ranges of nodes do not overlap, even if two nodes register at the same time.

use anyhow::{Context, Result};
use nebula_tests::cluster::Cluster;
use nebula_tests::session::{pid, until_blocked};
use tokio_postgres::error::SqlState;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_concurrent_nodes_with_overlapping_ranges_the_second_is_refused() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (first, second, watcher) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    for (end, refused) in [("ROLLBACK", false), ("COMMIT", true)] {
        watcher.batch_execute("TRUNCATE nebula.node CASCADE").await?;
        let pid = pid(&second).await?;
        first.batch_execute("BEGIN; SELECT nebula.register_node('a', 'a:1', cidr => '10.8.0.0/24')").await?;
        let register = second.batch_execute("SELECT nebula.register_node('b', 'b:1', cidr => '10.8.0.0/16')");
        let release = async {
            until_blocked(&watcher, pid).await?;
            anyhow::Ok(first.batch_execute(end).await?)
        };
        let (registered, released) = tokio::join!(register, release);
        released?;
        assert_eq!(registered.is_err(), refused, "{end}: {registered:?}");
        if let Err(error) = registered {
            let error = error.as_db_error().context("an error of the database")?.clone();
            assert_eq!(error.code(), &SqlState::UNIQUE_VIOLATION, "{error:?}");
            assert!(error.message().contains("node \"a\""), "{error:?}");
        }
    }
    Ok(())
}
