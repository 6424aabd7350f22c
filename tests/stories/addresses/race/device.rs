//! One device in several sessions at the same time.

use anyhow::Result;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{databases, pid, pool, until_blocked};

/// The projects hold addresses of different families, so no unique index has both rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_addresses_in_one_project_however_calls_meet() -> Result<()> {
    for database in databases().await? {
        let (six, four) = (pool(&database, "fd00::/120").await?, pool(&database, "10.1.0.0/24").await?);
        for (call, ends) in [
            ("SELECT nebula.allocate_ip($1, $2)", "COMMIT"),
            ("SELECT nebula.allocate_ips($1, ARRAY[$2, gen_random_uuid()])", "COMMIT"),
            ("SELECT nebula.allocate_ip($1, $2)", "ROLLBACK"),
            ("SELECT nebula.allocate_ips($1, ARRAY[$2, gen_random_uuid()])", "ROLLBACK"),
        ] {
            let device = Uuid::new_v4();
            let (first, second) = (database.connect().await?, database.connect().await?);
            let observer = database.connect().await?;
            // Both sessions know the pools.
            for project in [six, four] {
                second.query(call, &[&project, &Uuid::new_v4()]).await?;
            }
            first.batch_execute("BEGIN").await?;
            first.query("SELECT nebula.allocate_ip($1, $2)", &[&six, &device]).await?;
            let blocked = pid(&second).await?;
            let answer = tokio::spawn(async move { second.query(call, &[&four, &device]).await });
            until_blocked(&observer, blocked).await?;
            first.batch_execute(ends).await?;
            let answer = answer.await?;
            if ends == "COMMIT" {
                let refused = answer.unwrap_err();
                assert_eq!(refused.code(), Some(&SqlState::UNIQUE_VIOLATION), "{call}: {refused:?}");
            } else {
                answer?;
            }
            let held = "SELECT count(DISTINCT project_id) FROM nebula.allocation WHERE device_id = $1";
            assert_eq!(first.query_one(held, &[&device]).await?.get::<_, i64>(0), 1, "{call} {ends}");
        }
    }
    Ok(())
}
