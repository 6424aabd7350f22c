//! A page of the map that is built by a transaction with uncommitted rows of its own in it.

use anyhow::Result;
use nebula_tests::cluster::{Cluster, PRELOAD};
use uuid::Uuid;

use super::{allocate, balanced, pool};

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_a_rolled_back_transaction_are_free() -> Result<()> {
    for preload in ["", PRELOAD] {
        let cluster = Cluster::start(&["fsync=off", preload]).await?;
        let database = cluster.database().await?;
        for by_hand in [false, true] {
            let project = pool(&database, "10.1.0.0/29").await?;
            let client = database.connect().await?;
            client.batch_execute("BEGIN").await?;
            let device = Uuid::new_v4();
            let take = if by_hand {
                format!(
                    "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by)
                     SELECT project_id, pool_id, '10.1.0.2', '{device}', 'hand' FROM nebula.pool
                      WHERE project_id = '{project}'"
                )
            } else {
                format!("SELECT nebula.allocate_ip('{project}', '{device}', address => '10.1.0.2')")
            };
            client.batch_execute(&take).await?;
            assert_eq!(allocate(&client, project).await?, "10.1.0.1");
            client.batch_execute("ROLLBACK").await?;
            for wanted in ["10.1.0.1", "10.1.0.2", "10.1.0.3"] {
                assert_eq!(allocate(&client, project).await?, wanted, "{preload}, by hand: {by_hand}");
            }
            assert_eq!(balanced(&client, project).await?, (3, 3));
        }
    }
    Ok(())
}
