//! Leftovers of a gateway that was killed between storing bytes and recording them are found.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nebula_api::health::Health;
use nebula_tests::api::{Api, good};
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use uuid::Uuid;

/// Makes a file as old as if it had been there for a day.
fn make_old(path: &Path) -> Result<()> {
    Ok(File::open(path)?.set_modified(SystemTime::now() - Duration::from_secs(24 * 3600))?)
}

fn markers(stack: &Stack) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(stack.store().join(".staging"))?.flatten().map(|entry| entry.path());
    Ok(entries.filter(|path| path.to_string_lossy().contains("pending-")).collect())
}

/// Files of the store, without the gateway's own notes in the staging folder.
fn objects(stack: &Stack) -> Result<Vec<PathBuf>> {
    let stored = stack.stored()?.into_iter();
    Ok(stored.filter(|path| !path.to_string_lossy().contains("/.staging/orphans.")).collect())
}

/// Kills the gateway between storing an upload and making its row; leaves an old marker.
async fn lose_row(stack: &mut Stack, api: &Api) -> Result<()> {
    let mut client = stack.database.connect().await?;
    // The row waits for this lock, while the bytes are in the store already. Reading goes on: the gateway looks
    // for the name before it takes the bytes.
    let lock = client.transaction().await?;
    lock.batch_execute("LOCK TABLE nebula.file IN SHARE MODE").await?;
    let (uploader, project) = (api.clone(), stack.project);
    let sending = tokio::spawn(async move { uploader.upload(project, "lost", b"lost bytes".to_vec()).await });
    eventually("the bytes to be stored", || async { Ok((objects(stack)?.len() == 2).then_some(())) }).await?;
    let waits = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE '%create_file%' AND wait_event_type = 'Lock'";
    // On a connection of its own: within a transaction, the activity is always that of the first look.
    let watcher = stack.database.connect().await?;
    eventually("the row to wait", || async { Ok(watcher.query_opt(waits, &[]).await?) }).await?;
    stack.kill_gateway()?;
    watcher.query(waits, &[]).await?;
    lock.rollback().await?;
    ensure!(sending.await?.is_err());
    let [marker] = &markers(stack)?[..] else { anyhow::bail!("no marker is left: {:?}", markers(stack)?) };
    make_old(marker)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_whose_row_was_never_made_are_deleted_and_other_orphans_reported() -> Result<()> {
    let mut stack = Stack::start().await?;
    let api = stack.admin().await?;
    let kept = good(api.upload(stack.project, "kept", b"kept".to_vec()).await?).await?;
    ensure!(markers(&stack)?.is_empty(), "a finished upload needs no marker");
    drop(kept);

    lose_row(&mut stack, &api).await?;

    // No gateway of this release leaves this; a database that was restored from an older backup does.
    let orphan = || stack.store().join(format!("files/{}/original", Uuid::new_v4()));
    let orphans: Vec<_> = (0..25).map(|_| orphan()).collect();
    for orphan in &orphans {
        fs::create_dir_all(orphan.parent().context("no parent")?)?;
        fs::write(orphan, b"orphan")?;
        make_old(orphan)?;
    }

    stack.start_gateway().await?;
    let health = || async {
        let answer = good(api.anonymous("/health/ready").send().await?).await?;
        let health: Health = answer.json().await?;
        Ok(health.checks.into_iter().find(|check| check.name == "orphans"))
    };
    let found = eventually("the orphan to be reported", health).await?;
    ensure!(found.hint.is_some() && found.ok && found.detail.starts_with("25 objects"), "{found:?}");
    let log = fs::read_to_string(stack.log("gateway"))?;
    let named = log.matches("this object belongs to no file").count();
    ensure!(named == 20 && log.contains("unnamed=5"), "{named} are named: {log}");
    assert_eq!(objects(&stack)?.len(), 26, "the orphans and the file that has a row: {:?}", objects(&stack)?);
    ensure!(orphans.iter().all(|orphan| orphan.exists()) && markers(&stack)?.is_empty());
    let doctor = String::from_utf8(stack.ctl()?.arg("doctor").output()?.stdout)?;
    ensure!(doctor.contains("• orphans"), "{doctor}");

    // The administrator says how long after their discovery. The age of the objects themselves does not count.
    stack.restart_with(&[("NEBULA_ORPHAN_DAYS", "1")]).await?;
    eventually("the orphans to be counted", health).await?;
    ensure!(orphans.iter().all(|orphan| orphan.exists()), "they were found only now");
    let record = stack.store().join(".staging/orphans.json");
    let found: BTreeMap<String, u64> = serde_json::from_slice(&fs::read(&record)?)?;
    assert_eq!(found.len(), 25);
    let earlier: BTreeMap<_, _> = found.into_iter().map(|(key, at)| (key, at - 24 * 3600)).collect();
    fs::write(&record, serde_json::to_vec(&earlier)?)?;
    stack.restart_with(&[("NEBULA_ORPHAN_DAYS", "1")]).await?;
    eventually("the orphans to be deleted", || async {
        Ok((!orphans.iter().any(|orphan| orphan.exists())).then_some(()))
    })
    .await?;
    assert_eq!(objects(&stack)?.len(), 1);
    let client = stack.database.connect().await?;
    let states = "SELECT string_agg(action, ' ' ORDER BY event_id) FROM nebula.event WHERE subject_id = 'storage-orphans'";
    eventually("both to be on record", || async {
        let recorded: Option<String> = client.query_one(states, &[]).await?.get(0);
        Ok((recorded.as_deref() == Some("orphans-found orphans-ok")).then_some(()))
    })
    .await
}
