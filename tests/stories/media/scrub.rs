//! The scrub finds what is missing, changed or left over in the storage.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nebula_api::health::Health;
use nebula_api::system::System;
use nebula_tests::api::good;
use nebula_tests::bucket::Bucket;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use tokio_postgres::Client;
use uuid::Uuid;

/// Runs a scrub that reads all bytes; answers what it says of itself.
async fn scrub(client: &Client) -> Result<serde_json::Value> {
    // Changed bytes are told from others only by reading them, which the next scrub would do in 30 days.
    let enqueue = "SELECT nebula.enqueue_job('scrub', '{\"days\": 0, \"graceSeconds\": 60}')";
    let job: i64 = client.query_one(enqueue, &[]).await?.get(0);
    let row = eventually("the scrub to be finished", || async {
        let sql = "SELECT state, result, errors::text FROM nebula.job_finished WHERE job_id = $1";
        Ok(client.query_opt(sql, &[&job]).await?)
    })
    .await?;
    assert_eq!(row.get::<_, &str>(0), "succeeded", "{}", row.get::<_, &str>(2));
    Ok(row.get(1))
}

/// Fault, key and files of each difference.
async fn faults(client: &Client) -> Result<Vec<String>> {
    let sql =
        "SELECT fault || ' ' || coalesce(files[1], storage_key) FROM nebula.storage_fault_status ORDER BY 1";
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Runs the same story on the objects in a folder, wherever they are served from.
async fn damage_is_found(stack: &Stack, objects: &Path, settings: &[(&str, &str)]) -> Result<()> {
    let api = stack.admin().await?;
    let names = ["kept", "lost", "spoilt", "short"];
    for name in names {
        good(api.upload(stack.project, name, format!("the bytes of {name}").into_bytes()).await?).await?;
    }
    let client = stack.database.connect().await?;
    let _worker = stack.worker_with("worker", 30, settings)?;
    let done = scrub(&client).await?;
    assert_eq!((&done["listed"], &done["compared"]), (&4.into(), &4.into()), "{done}");
    ensure!(faults(&client).await?.is_empty());

    let key = async |name: &str| {
        let sql =
            "SELECT storage_key FROM nebula.content JOIN nebula.file USING (content_id) WHERE name = $1";
        Ok::<_, anyhow::Error>(objects.join(client.query_one(sql, &[&name]).await?.get::<_, &str>(0)))
    };
    fs::remove_file(key("lost").await?)?;
    let spoilt = key("spoilt").await?;
    let sound = fs::read(&spoilt)?;
    fs::write(&spoilt, [&sound[..sound.len() - 1], b"!"].concat())?;
    fs::write(key("short").await?, b"the")?;
    let left_over = |name: &str, age: u64| {
        let path = objects.join(format!("files/{}/{name}", Uuid::new_v4()));
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(&path, b"left over")?;
        File::open(&path)?.set_modified(SystemTime::now() - Duration::from_secs(age))?;
        Ok::<_, anyhow::Error>(path)
    };
    // The new one may be an upload whose row is about to be made.
    let (old, _new) = (left_over("old", 3600)?, left_over("new", 0)?);
    scrub(&client).await?;
    let untracked = old.strip_prefix(objects)?.display().to_string();
    let expected = ["changed short", "changed spoilt", "missing lost", &format!("untracked {untracked}")];
    assert_eq!(faults(&client).await?, expected);
    ensure!(old.exists(), "a scrub deletes nothing");

    let events = "SELECT string_agg(action || ' ' || (detail ->> 'name'), ',' ORDER BY 1) FROM nebula.event
                   WHERE actor = 'scrub' AND project_id = $1";
    let events: String = client.query_one(events, &[&stack.project]).await?.get(0);
    for expected in ["changed-object short", "changed-object spoilt", "missing-object lost"] {
        ensure!(events.contains(expected), "{events}");
    }
    let system: System = api.read("/api/system").await?;
    let storage = system.storage.context("the storage is not told")?;
    assert_eq!((storage.missing, storage.changed, storage.untracked), (1, 2, 1));
    ensure!(storage.untracked_bytes == 9 && storage.scrubbed_at.is_some(), "{storage:?}");
    let metrics = good(api.anonymous("/metrics").send().await?).await?.text().await?;
    ensure!(metrics.contains("nebula_storage_faults{fault=\"changed\"} 2"), "{metrics}");
    // An answer is used again for a second.
    eventually("the check of the storage to tell it", || async {
        let health: Health = good(api.anonymous("/health/ready").send().await?).await?.json().await?;
        let check = health.checks.into_iter().find(|check| check.name == "storage-scrub");
        Ok(check.filter(|check| check.ok && check.hint.is_some()))
    })
    .await?;

    // Put right and deleted: the next scrub forgets them, and says nothing new of the rest.
    fs::write(&spoilt, sound)?;
    fs::remove_file(old)?;
    scrub(&client).await?;
    assert_eq!(faults(&client).await?, ["changed short", "missing lost"]);
    let states = "SELECT string_agg(action, ' ' ORDER BY event_id) FROM nebula.event WHERE subject_id = 'storage-scrub'";
    assert_eq!(client.query_one(states, &[]).await?.get::<_, &str>(0), "scrub-faults");
    let events = "SELECT count(*) FROM nebula.event WHERE actor = 'scrub'";
    assert_eq!(client.query_one(events, &[]).await?.get::<_, i64>(0), 3, "each damaged file once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_folder_is_found() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    eventually("the scrub to be scheduled", || async {
        Ok(client.query_opt("SELECT FROM nebula.job_schedule WHERE kind = 'scrub'", &[]).await?)
    })
    .await?;
    damage_is_found(&stack, &stack.store(), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_bucket_is_found() -> Result<()> {
    let mut stack = Stack::start().await?;
    let bucket = Bucket::start(&stack.path("bucket")).await?;
    let settings = bucket.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stack.restart_with(&settings).await?;
    damage_is_found(&stack, bucket.folder(), &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_upload_whose_gateway_was_killed_do_not_stay_in_the_bucket() -> Result<()> {
    let mut stack = Stack::start().await?;
    let bucket = Bucket::start(&stack.path("bucket")).await?;
    let settings = bucket.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stack.restart_with(&settings).await?;
    let api = stack.admin().await?;
    bucket.hold_second_parts(true);
    let project = stack.project;
    // Larger than one part.
    let sending = tokio::spawn(async move { api.upload(project, "large", vec![b'a'; 20 << 20]).await });
    eventually("the second part to be sent", || async { Ok((bucket.held() > 0).then_some(())) }).await?;
    stack.kill_gateway()?;
    ensure!(sending.await?.is_err());
    bucket.hold_second_parts(false);
    // Files of the server that belong to parts.
    let parts = || -> Result<usize> {
        let root = bucket.folder().parent().context("no parent")?;
        let mut folders = vec![root.to_owned()];
        let mut parts = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => parts += usize::from(path.display().to_string().contains("part")),
                }
            }
        }
        Ok(parts)
    };
    ensure!(parts()? > 0, "a killed gateway leaves what it has sent");

    let client = stack.database.connect().await?;
    let _worker = stack.worker_with("worker", 30, &settings)?;
    let enqueue = "SELECT nebula.enqueue_job('scrub', '{\"uploadSeconds\": 0}')";
    let job: i64 = client.query_one(enqueue, &[]).await?.get(0);
    let result: serde_json::Value = eventually("the scrub to be finished", || async {
        let sql = "SELECT result FROM nebula.job_finished WHERE job_id = $1";
        Ok(client.query_opt(sql, &[&job]).await?.map(|row| row.get(0)))
    })
    .await?;
    assert_eq!(result["abortedUploads"], 1, "{result}");
    assert_eq!(parts()?, 0);
    Ok(())
}
