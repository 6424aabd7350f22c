//! Restores with the real pg_restore and psql, in each way that they have, into servers whose background
//! workers look after the database, with pauses, and stopped in the middle. And commands that need a
//! database for themselves.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::run;
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::eventually;
use nebula_tests::sql::error_of;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::background_worker::rounds;
use super::dump::contents;

/// The database that the background workers look after.
const SERVED: &str = "nebula";

/// Rows in tables with foreign keys or triggers that read other tables, and some that only a hand can write.
const ROWS: &str = "
    SET TimeZone = 'Europe/Berlin';
    SELECT nebula.populate_pool(nebula.create_project('lab', '10.90.0.0/16'), '10.90.0.0/24');
    SELECT nebula.allocate_ip(project_id, gen_random_uuid()) FROM nebula.project, generate_series(1, 5);
    SELECT nebula.exclude_addresses(project_id, 'printers', '10.90.0.200') FROM nebula.project;
    INSERT INTO nebula.account (username, password_hash) VALUES ('anna', '$argon2id$v=19$');
    INSERT INTO nebula.project_member SELECT project_id, account_id FROM nebula.project, nebula.account;
    INSERT INTO nebula.device (device_id, project_id, name, role, endpoints, curve, public_key)
     SELECT gen_random_uuid(), project_id, 'lighthouse', 'lighthouse', '{192.0.2.1:4242}', '25519',
            decode(repeat('ab', 32), 'hex') FROM nebula.project;
    INSERT INTO nebula.route (project_id, network, device_id)
     SELECT project_id, '192.168.77.0/24', device_id FROM nebula.device;
    INSERT INTO nebula.firewall_rule (project_id, direction, for_device)
     SELECT project_id, 'inbound', device_id FROM nebula.device;
    -- Thirty days over the end of summer time are an hour longer here than in UTC.
    INSERT INTO nebula.enrolment (project_id, code_hash, created_by, created_at, expires_at)
     SELECT project_id, decode(repeat('cd', 32), 'hex'), 'anna', '2026-10-20 12:00',
            timestamptz '2026-10-20 12:00' + interval '30 days' FROM nebula.project;
    -- Columns that are generated again, and a file in the trash beside one that has its name.
    INSERT INTO nebula.content (content_id, project_id, size, sha256, content_type, storage_key, media)
     SELECT gen_random_uuid(), project_id, 7, sha256('film'), 'video/mp4', 'files/x/original', '{\"duration\": 90}'
       FROM nebula.project;
    INSERT INTO nebula.file (file_id, project_id, folder, name, content_id, tags, deleted_at)
     SELECT gen_random_uuid(), project_id, 'films/80s', U&'\\00DCberfahrt 7.mkv', content_id, '{old}', at
       FROM nebula.content, unnest(ARRAY[NULL, now()]) at;
    INSERT INTO nebula.bookmark (account_id, file_id, seconds, duration, is_finished)
     SELECT account_id, file_id, 30.5, 90, false FROM nebula.account, nebula.file WHERE deleted_at IS NULL;
    -- A link to a table that is gone.
    CREATE TABLE public.gone (id uuid PRIMARY KEY, nebula_ip inet);
    SELECT nebula.link_device_table('public.gone');
    DROP TABLE public.gone;
    -- An orphan, as replication can leave one.
    SET session_replication_role = replica;
    INSERT INTO nebula.job_quota VALUES (gen_random_uuid(), 3);
    RESET session_replication_role;
    SELECT nebula.enqueue_job('story', '{}') FROM generate_series(1, 20);
    SELECT nebula.complete_job(c.job_id, c.attempt) FROM nebula.claim_jobs('w', '{story}', 5) c;
    SELECT nebula.maintain_jobs()";

/// Work that is due, which the background workers do as soon as they may.
const DUE: &str = "
    SELECT nebula.claim_jobs('lost', '{story}', 3);
    UPDATE nebula.job_running SET lease_until = now() - interval '1 hour';
    SELECT nebula.schedule_job('each minute', '* * * * *', 'scheduled');
    UPDATE nebula.job_schedule SET next_at = now() - interval '1 hour'";

pub(super) async fn cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let settings = ["fsync=off", PRELOAD, "nebula.maintenance_interval = 1"];
    CLUSTER.get_or_try_init(|| Cluster::start(&settings)).await
}

/// A database with rows; the workers look after another one.
pub(super) async fn source(more: &str) -> Result<Database> {
    let database = cluster().await?.database().await?;
    database.connect().await?.batch_execute(&format!("{ROWS}; {more}")).await?;
    Ok(database)
}

/// A file beside the server's data, where pg_dump may write.
fn file(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.data().with_file_name(name)
}

pub(super) fn dump(
    cluster: &Cluster,
    database: &Database,
    name: &str,
    arguments: &[&str],
) -> Result<PathBuf> {
    let path = file(cluster, &format!("{}-{name}", database.name()));
    run(cluster.tool("pg_dump").args(arguments).arg("-f").arg(&path).arg(database.name()))?;
    Ok(path)
}

/// pg_restore that ends at the first error.
pub(super) fn pg_restore(cluster: &Cluster, into: &str, arguments: &[&str]) -> Command {
    let mut command = cluster.tool("pg_restore");
    command.args(["--exit-on-error", "-d", into]).args(arguments);
    command
}

pub(super) async fn assert_equal(source: &Database, restored: &Database, how: &str) -> Result<()> {
    let mut before = contents(source).await?;
    before.retain(|(table, _)| table != "nebula.linked_table");
    ensure!(before.len() > 40, "the source has rows to compare: {}", before.len());
    assert_eq!(before, contents(restored).await?, "{how}");
    let left = "SELECT FROM pg_trigger WHERE tgname LIKE 'restored_rows%'";
    assert_eq!(restored.connect().await?.query(left, &[]).await?.len(), 0, "{how}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_restoring_brings_every_row() -> Result<()> {
    let cluster = cluster().await?;
    let source = source("").await?;
    let custom = dump(cluster, &source, "custom", &["-Fc"])?;
    let directory = dump(cluster, &source, "directory", &["-Fd", "-j2"])?;
    for (number, (archive, arguments)) in [
        (&custom, &["-j1"][..]),
        (&custom, &["-j2"]),
        (&custom, &["--single-transaction"]),
        (&directory, &["-j1"]),
        (&directory, &["-j2"]),
    ]
    .into_iter()
    .enumerate()
    {
        let how = format!("{} {arguments:?}", archive.display());
        let restored = cluster.empty_database(&format!("way_{number}")).await?;
        run(pg_restore(cluster, restored.name(), arguments).arg(archive))?;
        assert_equal(&source, &restored, &how).await?;
    }
    // A database that has the extension already, but no rows; its schema is an error, which is passed over.
    let restored = cluster.database().await?;
    let output = cluster.tool("pg_restore").args(["-j2", "-d", restored.name()]).arg(&custom).output()?;
    let errors = String::from_utf8(output.stderr)?;
    assert!(errors.ends_with("errors ignored on restore: 1\n"), "{errors}");
    assert_equal(&source, &restored, "over the extension").await?;
    for (name, arguments) in [("copy", &[][..]), ("inserts", &["--rows-per-insert=3"])] {
        let script = dump(cluster, &source, name, arguments)?;
        let restored = cluster.empty_database(&format!("script_{name}")).await?;
        let script = fs::File::open(script)?;
        run(cluster
            .tool("psql")
            .args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", restored.name()])
            .stdin(script))?;
        assert_equal(&source, &restored, name).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_rows_alone_needs_one_call_before() -> Result<()> {
    let cluster = cluster().await?;
    let source = source("").await?;
    let archive = dump(cluster, &source, "rows", &["-Fc"])?;
    let restored = cluster.database().await?;
    let client = restored.connect().await?;
    client.batch_execute("SELECT nebula.begin_restore()").await?;
    run(pg_restore(cluster, restored.name(), &["--data-only", "-j2"]).arg(&archive))?;
    eventually("the sessions of pg_restore to end", || async {
        let over: bool = client.query_one("SELECT nebula.restore_is_over()", &[]).await?.get(0);
        Ok(over.then_some(()))
    })
    .await?;
    // Without a background worker, the first row that a session adds is taken once the restore is complete.
    client.batch_execute("SELECT nebula.enqueue_job('after', '{}'); SELECT nebula.finish_restore()").await?;
    client.batch_execute("DELETE FROM nebula.job_waiting WHERE kind = 'after'").await?;
    assert_equal(&source, &restored, "rows alone").await?;
    assert!(!client.query_one("SELECT nebula.begin_restore()", &[]).await?.get::<_, bool>(0), "it has rows");
    Ok(())
}

/// Asserts that the workers do what was due, and that every job of the source is there once.
async fn assert_work_resumes(source: &Database, restored: &Client) -> Result<()> {
    let jobs = "SELECT array_agg(job_id ORDER BY job_id) FROM nebula.job_status WHERE kind = 'story'";
    let before: Vec<i64> = source.connect().await?.query_one(jobs, &[]).await?.get(0);
    eventually("the lost jobs to be rescued", || async {
        let running = restored.query_opt("SELECT FROM nebula.job_running LIMIT 1", &[]).await?;
        Ok(running.is_none().then_some(()))
    })
    .await?;
    eventually("the schedule to run", || async {
        let made = "SELECT FROM nebula.job_waiting WHERE kind = 'scheduled' AND job_id > 20";
        Ok(restored.query_opt(made, &[]).await?)
    })
    .await?;
    assert_eq!(before, restored.query_one(jobs, &[]).await?.get::<_, Vec<i64>>(0), "no job is lost or twice");
    Ok(())
}

/// Writes the entries of an archive as two lists, the first with the entries up to one of them.
fn split(cluster: &Cluster, archive: &PathBuf, last: &str) -> Result<[String; 2]> {
    let entries = run(cluster.tool("pg_restore").arg("-l").arg(archive))?;
    let end = entries.find(last).with_context(|| format!("{last} is in the archive"))?;
    let end = end + entries[end..].find('\n').context("a line ends")? + 1;
    let mut lists = [String::new(), String::new()];
    for (list, (name, text)) in
        lists.iter_mut().zip([("first", &entries[..end]), ("second", &entries[end..])])
    {
        let path = file(cluster, name);
        fs::write(&path, text)?;
        *list = path.to_str().context("a path of text")?.to_owned();
    }
    Ok(lists)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_works_in_a_database_until_its_restore_is_complete() -> Result<()> {
    let cluster = cluster().await?;
    let source = source(DUE).await?;
    let archive = dump(cluster, &source, "due", &["-Fc"])?;
    let restored = cluster.named(SERVED);
    let admin = cluster.named("postgres").connect().await?;
    let anew = || async {
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {SERVED}")).await?;
        cluster.empty_database(SERVED).await.map(drop)
    };

    // In pieces, with pauses between.
    anew().await?;
    let [first, second] = split(cluster, &archive, "TABLE DATA nebula job_schedule")?;
    run(pg_restore(cluster, SERVED, &["-L", &first]).arg(&archive))?;
    let client = restored.connect().await?;
    let waiting = client.query("SELECT FROM nebula.job_waiting", &[]).await?.len();
    assert_eq!(waiting, 0, "the second part brings the jobs");
    rounds(&client).await?;
    let due = "SELECT next_at::text FROM nebula.job_schedule";
    let before: String = client.query_one(due, &[]).await?.get(0);
    client.execute("SELECT nebula.run_schedules()", &[]).await?;
    assert_eq!(before, client.query_one(due, &[]).await?.get::<_, String>(0), "still due");
    for statement in ["SELECT nebula.enqueue_job('early', '{}')", "SELECT nebula.create_project('early')"] {
        let error = error_of(&client, statement).await?;
        assert_eq!(
            (error.code(), error.hint().is_some()),
            (&SqlState::CANNOT_CONNECT_NOW, true),
            "{error:?}"
        );
    }
    run(pg_restore(cluster, SERVED, &["-L", &second]).arg(&archive))?;
    assert_work_resumes(&source, &client).await?;
    drop(client);

    // Without the section post-data, which has nothing of the extension but the end of the restore.
    anew().await?;
    for section in ["--section=pre-data", "--section=data"] {
        run(pg_restore(cluster, SERVED, &[section]).arg(&archive))?;
    }
    assert_work_resumes(&source, &restored.connect().await?).await?;

    // Stopped in the middle, and begun again.
    anew().await?;
    run(pg_restore(cluster, SERVED, &["--section=pre-data"]).arg(&archive))?;
    let client = restored.connect().await?;
    let blocker = restored.connect().await?;
    blocker.batch_execute("BEGIN; LOCK TABLE nebula.job_waiting").await?;
    let restore = pg_restore(cluster, SERVED, &["-j2", "--section=data"]).arg(&archive).spawn()?;
    stop_while_it_waits(restore, &client).await?;
    blocker.batch_execute("COMMIT").await?;
    rounds(&client).await?;
    let jobs = client.query("SELECT FROM nebula.job_status WHERE kind = 'scheduled'", &[]).await?.len();
    assert_eq!(jobs, 0, "the schedule has come and waits");
    let again = cluster.tool("pg_restore").args(["-j2", "-d", SERVED]).arg(&archive).output()?;
    ensure!(!again.status.success(), "what is there already is an error, and passed over");
    assert_work_resumes(&source, &client).await?;
    Ok(())
}

/// Ends pg_restore when nothing is left for it but the table that another session has locked.
async fn stop_while_it_waits(mut restore: Child, client: &Client) -> Result<()> {
    let waits = "SELECT FROM pg_stat_activity a
                  WHERE a.application_name = 'pg_restore' AND a.wait_event_type = 'Lock'
                  AND NOT EXISTS (SELECT FROM nebula.sequences_to_restore())";
    eventually("pg_restore to wait", || async { Ok(client.query_opt(waits, &[]).await?.map(drop)) }).await?;
    kill_process(Pid::from_raw(i32::try_from(restore.id())?).context("a process")?, Signal::TERM)?;
    restore.wait()?;
    eventually("its sessions to end", || async {
        let present = "SELECT FROM pg_stat_activity WHERE application_name = 'pg_restore' LIMIT 1";
        Ok(client.query_opt(present, &[]).await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_give_way_to_commands_that_need_their_database() -> Result<()> {
    let settings = ["fsync=off", PRELOAD, "nebula.maintenance_interval = 1"];
    let cluster = Cluster::start(&settings).await?;
    let admin = cluster.named("postgres").connect().await?;
    let present = |name: &'static str| {
        let admin = &admin;
        move || async move {
            let workers = "SELECT count(*) FROM pg_stat_activity
                            WHERE datname = $1
                              AND backend_type IN ('pg_nebula maintenance', 'pg_nebula notifier')";
            let count: i64 = admin.query_one(workers, &[&name]).await?.get(0);
            Ok((count == 2).then_some(()))
        }
    };
    admin.batch_execute(&format!("CREATE DATABASE {SERVED} TEMPLATE nebula_template")).await?;
    for command in [
        "CREATE DATABASE staging TEMPLATE nebula",
        "ALTER DATABASE nebula RENAME TO before; ALTER DATABASE before RENAME TO nebula",
        "DROP DATABASE nebula; ALTER DATABASE staging RENAME TO nebula",
    ] {
        eventually("the workers", present(SERVED)).await?;
        for statement in command.split("; ") {
            admin.batch_execute(statement).await.with_context(|| statement.to_owned())?;
        }
    }
    eventually("the workers to come back", present(SERVED)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_is_no_superuser_needs_one_grant_to_dump() -> Result<()> {
    let cluster = cluster().await?;
    let source = source("").await?;
    let admin = source.connect().await?;
    admin
        .batch_execute(&format!("CREATE ROLE keeper LOGIN; ALTER DATABASE {} OWNER TO keeper", source.name()))
        .await?;
    let path = file(cluster, "by-keeper");
    let dump =
        || run(cluster.tool("pg_dump").args(["-Fc", "-U", "keeper", "-f"]).arg(&path).arg(source.name()));
    let error = dump().expect_err("the extension grants nothing by itself");
    assert!(error.to_string().contains("permission denied"), "{error}");
    admin.batch_execute("GRANT pg_read_all_data TO keeper").await?;
    dump()?;
    let restored = cluster.empty_database("from_keeper").await?;
    run(pg_restore(cluster, restored.name(), &["-j2"]).arg(&path))?;
    assert_equal(&source, &restored, "by keeper").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_triggers_ends_when_its_rows_are_there() -> Result<()> {
    let cluster = cluster().await?;
    let source = source("").await?;
    let archive = dump(cluster, &source, "untriggered", &["-Fc"])?;
    let restored = cluster.empty_database("untriggered").await?;
    run(pg_restore(cluster, restored.name(), &["--schema-only"]).arg(&archive))?;
    run(pg_restore(cluster, restored.name(), &["--data-only", "--disable-triggers"]).arg(&archive))?;
    restored.connect().await?.batch_execute("REFRESH MATERIALIZED VIEW nebula.restored").await?;
    assert_equal(&source, &restored, "without triggers").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_a_dump_of_the_schema_alone_is_opened_by_one_call() -> Result<()> {
    let cluster = cluster().await?;
    let source = source("").await?;
    let script = fs::File::open(dump(cluster, &source, "schema", &["-s"])?)?;
    let restored = cluster.empty_database("schema_alone").await?;
    let psql = ["-qX", "-v", "ON_ERROR_STOP=1", "-d", restored.name()];
    let output = cluster.tool("psql").args(psql).stdin(script).output()?;
    let warning = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && warning.contains("schema alone"), "{warning}");
    let client = restored.connect().await?;
    let create = "SELECT nebula.create_project('test')";
    let error = error_of(&client, create).await?;
    ensure!(error.hint().is_some_and(|hint| hint.contains("finish_restore()")), "{error:?}");
    client.batch_execute("SELECT nebula.finish_restore()").await?;
    client.batch_execute(create).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_begin_a_restore() -> Result<()> {
    let cluster = cluster().await?;
    let database = cluster.database().await?;
    let client = database.connect().await?;
    client.batch_execute("CREATE ROLE visitor").await?;
    let begin = "SET row_security = off; CREATE EXTENSION IF NOT EXISTS pg_nebula";
    let progress = "SELECT count(*) > 0 FROM nebula.restore_progress";
    for (session, begun) in
        [("SET SESSION AUTHORIZATION visitor", false), ("RESET SESSION AUTHORIZATION", true)]
    {
        client.batch_execute(&format!("{session}; {begin}; RESET SESSION AUTHORIZATION")).await?;
        assert_eq!(client.query_one(progress, &[]).await?.get::<_, bool>(0), begun, "{session}");
    }
    Ok(())
}
