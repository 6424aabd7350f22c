//! Linked tables with concurrent sessions: no write to a row is lost, no session waits for ever, and every
//! index finds every row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::session::{pid, until_blocked};
use nebula_tests::{eventually, invariants, rounds};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

const DEVICES: i32 = 40;

/// A project and a linked table with devices 1 to [`DEVICES`], in a fresh database.
async fn linked_database(database: &Database) -> Result<(Client, Uuid)> {
    let client = database.connect().await?;
    let project = client.query_one("SELECT nebula.create_project('linked')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.1.0.0/24')", &[&project]).await?;
    client
        .batch_execute(&format!(
            "CREATE EXTENSION amcheck;
             CREATE TABLE user_devices (id uuid PRIMARY KEY, nebula_ip inet, count int NOT NULL DEFAULT 0,
              note text);
             INSERT INTO user_devices (id) SELECT md5(n::text)::uuid FROM generate_series(1, {DEVICES}) AS n;
             SELECT nebula.link_device_table('user_devices')"
        ))
        .await?;
    Ok((client, project))
}

async fn databases() -> Result<[Database; 2]> {
    let [plain, preloaded] = Cluster::both().await?;
    Ok([plain.database().await?, preloaded.database().await?])
}

const ALLOCATE: &str = "SELECT host(nebula.allocate_ip($1, md5($2::int::text)::uuid))";
const RELEASE: &str = "SELECT host(nebula.release_ip(md5($1::int::text)::uuid))";

async fn allocate(
    client: &impl GenericClient,
    project: Uuid,
    device: i32,
) -> Result<String, tokio_postgres::Error> {
    Ok(client.query_one(ALLOCATE, &[&project, &device]).await?.get(0))
}

/// The address that the table shows for a device, and the column that the application writes.
async fn shown(client: &Client, device: i32) -> Result<(Option<String>, Option<String>)> {
    let sql = "SELECT host(nebula_ip), note FROM user_devices WHERE id = md5($1::int::text)::uuid";
    let row = client.query_one(sql, &[&device]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Every row shows the held address, and every index contains every row.
async fn assert_sound(client: &Client, project: Uuid) -> Result<()> {
    invariants::check(client, project).await?;
    let indexes =
        "SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'user_devices'::regclass";
    client.batch_execute(indexes).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_to_a_linked_row_are_waited_for_and_kept() -> Result<()> {
    for database in databases().await? {
        let (client, project) = linked_database(&database).await?;
        let (owner, other) = (database.connect().await?, database.connect().await?);
        let other_pid = pid(&other).await?;
        let row = "WHERE id = md5('1')::uuid";
        // The application's concurrent change, and the address that the row shows afterwards.
        let cases = [
            (format!("UPDATE user_devices SET note = 'his' {row}; COMMIT"), Some("his")),
            (format!("UPDATE user_devices SET note = 'undone' {row}; ROLLBACK"), Some("his")),
            (format!("SELECT FROM user_devices {row} FOR UPDATE; COMMIT"), Some("his")),
            (
                format!(
                    "DELETE FROM user_devices {row}; INSERT INTO user_devices (id, note)
                      VALUES (md5('1')::uuid, 'new'); COMMIT"
                ),
                Some("new"),
            ),
        ];
        for (work, note) in cases {
            let (work, end) = work.rsplit_once("; ").context("a case without an end")?;
            owner.batch_execute(&format!("BEGIN; {work}")).await?;
            let other_works = async { Ok::<_, anyhow::Error>(allocate(&other, project, 1).await?) };
            let owner_ends = async {
                until_blocked(&client, other_pid).await?;
                Ok(owner.batch_execute(end).await?)
            };
            let (ip, ()) = tokio::try_join!(other_works, owner_ends)?;
            assert_eq!(shown(&client, 1).await?, (Some(ip), note.map(str::to_owned)), "{work}");
            owner.batch_execute(&format!("BEGIN; UPDATE user_devices SET count = count + 1 {row}")).await?;
            let other_works = async { Ok::<_, anyhow::Error>(other.query_one(RELEASE, &[&1]).await?) };
            let owner_ends = async {
                until_blocked(&client, other_pid).await?;
                Ok(owner.batch_execute("COMMIT").await?)
            };
            tokio::try_join!(other_works, owner_ends)?;
            assert_eq!(shown(&client, 1).await?, (None, note.map(str::to_owned)), "{work}");
        }
        owner.batch_execute(&format!("BEGIN; DELETE FROM user_devices {row}")).await?;
        let (ip, ()) =
            tokio::try_join!(async { Ok::<_, anyhow::Error>(allocate(&other, project, 1).await?) }, async {
                until_blocked(&client, other_pid).await?;
                Ok(owner.batch_execute("COMMIT").await?)
            })?;
        assert_eq!(ip, "10.1.0.1", "a device without a row");
        assert_sound(&client, project).await?;
    }
    Ok(())
}

/// The application counts in the rows while sessions allocate and release one by one and in batches, and an
/// index is created and dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_of_a_linked_table_lose_no_update() -> Result<()> {
    const SESSIONS: i32 = 4;
    let turns = i32::try_from(rounds(40, 3000))?;
    for database in databases().await? {
        let (client, project) = linked_database(&database).await?;
        let done = Arc::new(AtomicBool::new(false));
        let owners = (0..2).map(|_| {
            let (database, done) = (database.clone(), done.clone());
            tokio::spawn(async move {
                let owner = database.connect().await?;
                let count = "UPDATE user_devices SET count = count + 1 WHERE id = md5($1::int::text)::uuid";
                let mut counted = 0;
                while !done.load(Ordering::Relaxed) {
                    counted += owner.execute(count, &[&(counted as i32 % DEVICES + 1)]).await?;
                }
                Ok::<_, anyhow::Error>(counted)
            })
        });
        let owners: Vec<_> = owners.collect();
        let indexer = tokio::spawn({
            let (database, done) = (database.clone(), done.clone());
            async move {
                let client = database.connect().await?;
                while !done.load(Ordering::Relaxed) {
                    client
                        .batch_execute("CREATE INDEX CONCURRENTLY by_ip ON user_devices (nebula_ip)")
                        .await?;
                    client.query("SELECT bt_index_check('by_ip', true)", &[]).await?;
                    client.batch_execute("DROP INDEX CONCURRENTLY by_ip").await?;
                }
                Ok::<_, anyhow::Error>(())
            }
        });
        // Each session has its own devices, so that all its calls succeed.
        let sessions = (0..SESSIONS).map(|session| {
            let database = database.clone();
            tokio::spawn(async move {
                let client = database.connect().await?;
                let own = DEVICES / SESSIONS;
                let batch = "SELECT count(*) FROM nebula.allocate_ips($1, ARRAY(
                               SELECT md5(n::text)::uuid FROM generate_series($2::int, $3::int) AS n))";
                for turn in 0..turns {
                    let first = session * own + 1;
                    if turn % 10 == 9 {
                        client.query(batch, &[&project, &first, &(first + own - 1)]).await?;
                    } else {
                        for device in first..first + own {
                            allocate(&client, project, device).await?;
                        }
                    }
                    for device in (first..first + own).filter(|_| turn + 1 < turns) {
                        client.query_one(RELEASE, &[&device]).await?;
                    }
                }
                Ok::<_, anyhow::Error>(())
            })
        });
        for session in try_join_all(sessions).await? {
            session?;
        }
        done.store(true, Ordering::Relaxed);
        let mut counted = 0;
        for owner in try_join_all(owners).await? {
            counted += owner?;
        }
        indexer.await??;
        let row = client.query_one("SELECT sum(count), count(nebula_ip) FROM user_devices", &[]).await?;
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (counted.try_into()?, DEVICES.into()));
        assert_sound(&client, project).await?;
    }
    Ok(())
}

/// A session's cached facts about a table are invalid as soon as another session alters it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_notices_changes_of_the_linked_tables_definition() -> Result<()> {
    for database in databases().await? {
        let (client, project) = linked_database(&database).await?;
        let live = database.connect().await?;
        allocate(&live, project, 1).await?;
        let altered = [
            "ALTER TABLE user_devices DROP COLUMN note, ADD note text DEFAULT 'later',
              ADD CHECK (count >= 0)",
            "CREATE INDEX by_ip ON user_devices (nebula_ip)",
            "ALTER TABLE user_devices ALTER count TYPE bigint, ADD first int",
            "VACUUM FULL user_devices",
            "ALTER TABLE user_devices RENAME TO devices; ALTER TABLE devices RENAME TO user_devices",
            "DROP INDEX by_ip",
            "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN NEW.count := NEW.count + 100; RETURN NEW; END $$;
             CREATE TRIGGER double BEFORE UPDATE ON user_devices FOR EACH ROW EXECUTE FUNCTION double()",
        ];
        for (device, altered) in (2..).zip(altered) {
            client.batch_execute(altered).await?;
            let ip = allocate(&live, project, device).await?;
            assert_eq!(shown(&client, device).await?.0, Some(ip), "{altered}");
        }
        let sum: i64 = client.query_one("SELECT sum(count)::bigint FROM user_devices", &[]).await?.get(0);
        assert_eq!(sum, 100, "the trigger");
        assert_sound(&client, project).await?;
        client.batch_execute("ALTER TABLE user_devices RENAME nebula_ip TO address").await?;
        allocate(&live, project, 20).await?;
        client.batch_execute("ALTER TABLE user_devices RENAME address TO nebula_ip").await?;
        assert_eq!(shown(&client, 20).await?.0, None, "the column was not there");
        client.batch_execute("SELECT nebula.check_pool(repair => true)").await?;
        client.batch_execute("DROP TABLE user_devices").await?;
        allocate(&live, project, 21).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_overwrites_no_newer_row() -> Result<()> {
    for database in databases().await? {
        let (client, project) = linked_database(&database).await?;
        let old = database.connect().await?;
        client.batch_execute("CREATE INDEX by_ip ON user_devices (nebula_ip)").await?;
        let before = allocate(&client, project, 1).await?;
        // From here on this session's cached facts are outdated.
        allocate(&old, project, 4).await?;
        old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM user_devices").await?;
        for _ in 0..20 {
            client.query_one(RELEASE, &[&1]).await?;
            allocate(&client, project, 1).await?;
            allocate(&client, project, 2).await?;
            client.query_one(RELEASE, &[&2]).await?;
        }
        old.batch_execute("SET enable_seqscan = off").await?;
        let seen = "SELECT count(*) FROM user_devices WHERE nebula_ip = $1::text::inet";
        assert_eq!(old.query_one(seen, &[&before]).await?.get::<_, i64>(0), 1);
        // A row that has changed since the snapshot, and one that has not.
        let stale = allocate(&old, project, 2).await.unwrap_err();
        assert_eq!(stale.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{stale:?}");
        old.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM user_devices")
            .await?;
        let ip = allocate(&old, project, 3).await?;
        old.batch_execute("COMMIT").await?;
        assert_eq!(shown(&client, 3).await?.0, Some(ip));
        assert_sound(&client, project).await?;
    }
    Ok(())
}

/// A subscriber of the table sees changes of the linked column, in the same transaction as those of the
/// allocation.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_changes_of_the_linked_column() -> Result<()> {
    let mut cluster = Cluster::start(&["fsync=off", "wal_level = 'logical'", PRELOAD]).await?;
    let database = cluster.database().await?;
    let (client, project) = linked_database(&database).await?;
    let copy = cluster.empty_database("copy").await?.connect().await?;
    let table =
        "CREATE TABLE user_devices (id uuid PRIMARY KEY, nebula_ip inet, count int NOT NULL, note text)";
    copy.batch_execute(table).await?;
    client
        .batch_execute(
            "ALTER TABLE user_devices REPLICA IDENTITY FULL;
             CREATE PUBLICATION devices FOR TABLE user_devices",
        )
        .await?;
    client.query("SELECT pg_create_logical_replication_slot('copy', 'pgoutput')", &[]).await?;
    // Within one cluster a subscription cannot create its own slot, because it would wait for itself.
    copy.batch_execute(&format!(
        "CREATE SUBSCRIPTION copy CONNECTION '{}' PUBLICATION devices
          WITH (create_slot = false, slot_name = 'copy')",
        database.url()
    ))
    .await?;
    let devices = "ARRAY(SELECT md5(n::text)::uuid FROM generate_series(10, 20) AS n)";
    for device in 1..=5 {
        allocate(&client, project, device).await?;
    }
    client.query(&format!("SELECT nebula.allocate_ips($1, {devices})"), &[&project]).await?;
    for device in [2, 15] {
        client.query_one(RELEASE, &[&device]).await?;
    }
    let all =
        "SELECT string_agg(concat_ws(' ', id, nebula_ip, count, note), ',' ORDER BY id) FROM user_devices";
    let ours: String = client.query_one(all, &[]).await?.get(0);
    assert_eq!(ours.matches("10.1.0.").count(), 14);
    eventually("the subscriber to show the same", || async {
        let its: Option<String> = copy.query_one(all, &[]).await?.get(0);
        Ok((its.as_deref() == Some(&ours)).then_some(()))
    })
    .await?;
    copy.batch_execute(
        "ALTER SUBSCRIPTION copy DISABLE; ALTER SUBSCRIPTION copy SET (slot_name = NONE);
                         DROP SUBSCRIPTION copy",
    )
    .await?;
    drop((client, copy));
    cluster.stop()
}
