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

/// No unique index decides these: names that differ in letter case, and keys.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_devices_that_register_at_once_one_gets_the_name_or_the_key() -> Result<()> {
    let [database, _] = databases().await?;
    let project = pool(&database, "10.1.0.0/24").await?;
    let (first, second, observer) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    let account = "INSERT INTO nebula.account (username, password_hash, role)
                   VALUES ('anna', '$argon2id$v=19$', 'admin') RETURNING account_id";
    let anna: Uuid = first.query_one(account, &[]).await?.get(0);
    let register = |name: &str, key: &str| {
        let device = Uuid::new_v4();
        format!(
            "SELECT nebula.register_devices(NULL, '{project}', ARRAY[ROW('{device}', '{anna}', '{name}', 'host', '{{}}',
                    '25519', sha256('{key}'), '192.0.2.1', NULL)::nebula.new_device])"
        )
    };
    let blocked = pid(&second).await?;
    let second = std::sync::Arc::new(second);
    for (name, key, other_name, other_key, ends) in [
        ("TV", "1", "tv", "2", "ROLLBACK"),
        ("TV", "3", "tv", "4", "COMMIT"),
        ("radio", "5", "phone", "5", "COMMIT"),
    ] {
        first.batch_execute("BEGIN").await?;
        first.batch_execute(&register(name, key)).await?;
        let (waiting, sql) = (second.clone(), register(other_name, other_key));
        let answer = tokio::spawn(async move { waiting.batch_execute(&sql).await });
        until_blocked(&observer, blocked).await?;
        first.batch_execute(ends).await?;
        match answer.await? {
            Ok(()) => {
                assert_eq!(ends, "ROLLBACK", "{other_name}");
                first.execute("DELETE FROM nebula.device WHERE name = $1", &[&other_name]).await?;
            }
            Err(refused) => {
                assert_eq!(refused.code(), Some(&SqlState::UNIQUE_VIOLATION), "{refused:?}");
                assert_eq!(ends, "COMMIT", "{other_name}: {refused:?}");
            }
        }
    }
    Ok(())
}

/// Gateways look at the same disks.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_two_gateways_see_at_once_is_recorded_once() -> Result<()> {
    let [database, _] = databases().await?;
    let (first, second, observer) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    let record = "SELECT nebula.record_state('storage-disk', 'disk-low', '{}')";
    let blocked = pid(&second).await?;
    first.batch_execute("BEGIN").await?;
    assert!(first.query_one(record, &[]).await?.get::<_, bool>(0));
    let answer = tokio::spawn(async move { second.query_one(record, &[]).await });
    until_blocked(&observer, blocked).await?;
    first.batch_execute("COMMIT").await?;
    assert!(!answer.await??.get::<_, bool>(0), "it is on record");
    Ok(())
}
