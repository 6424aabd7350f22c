//! Uploads and renditions leave a reserve of the disk free, for the database that may share it; what does not
//! fit is refused or waits, and goes on when there is room.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nebula_api::file::File;
use nebula_api::health::{Check, Health};
use nebula_tests::api::{Api, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::media::{self, FRIENDLY};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::Value;
use tokio_postgres::Client;

const MIB: u64 = 1 << 20;
const RESERVE: u64 = 8 * MIB;
const SETTINGS: [(&str, &str); 1] = [("NEBULA_DISK_RESERVE", "8MiB")];

/// Bytes that no kind of media begins with.
fn noise(size: u64) -> Vec<u8> {
    (0..size).map(|number| ((number * 7919) >> 3) as u8 | 1).collect()
}

/// Waits until the check of the storage's disk and the status are so; an answer is used again for a second.
async fn health(api: &Api, what: &str, so: impl Fn(&str, &Check) -> bool) -> Result<()> {
    eventually(what, || async {
        let answer = good(api.anonymous("/health/ready").send().await?).await?;
        let health: Health = answer.json().await?;
        let disk = health.checks.iter().find(|check| check.name == "storage-disk").context("no disk")?;
        Ok(so(&health.status, disk).then_some(()))
    })
    .await
}

/// The states of the storage's disk on record, in order.
async fn recorded(client: &Client) -> Result<Option<String>> {
    let sql = "SELECT string_agg(action, ' ' ORDER BY event_id) FROM nebula.event WHERE subject_id = 'storage-disk'";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn is_recorded(client: &Client, states: &str) -> Result<()> {
    eventually(&format!("{states} to be on record"), || async {
        Ok((recorded(client).await?.as_deref() == Some(states)).then_some(()))
    })
    .await
}

/// The answer to the head of an upload that asks whether it may send its body.
fn asked_first(stack: &Stack, api: &Api, size: u64) -> Result<String> {
    let address = stack.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address)?;
    write!(
        stream,
        "POST /api/files?projectId={}&name=asked HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {size}\r\nExpect: 100-continue\r\n\r\n",
        stack.project, api.tokens.access_token
    )?;
    let mut answer = [0; 16];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_leave_the_reserve_free_and_the_system_says_so_early() -> Result<()> {
    let stack = Stack::start_on_disk("size=64m", &SETTINGS).await?;
    let (api, disk) = (stack.admin().await?, stack.disk()?);
    let client = stack.database.connect().await?;
    let left = || Ok::<_, anyhow::Error>(disk.free()? - RESERVE);
    health(&api, "all to be well", |status, disk| status == "ok" && disk.ok && disk.hint.is_none()).await?;

    // More than there is: refused by its size, before a byte of it is sent.
    let refused = refusal(api.upload(stack.project, "large", noise(left()? + MIB)).await?).await?;
    assert_eq!(
        (refused.status, refused.failure.sqlstate.as_str()),
        (StatusCode::INSUFFICIENT_STORAGE, "53100")
    );
    ensure!(refused.failure.detail.contains("in reserve") && refused.failure.hint.is_some(), "{refused:?}");
    let before = left()?;
    let answer = asked_first(&stack, &api, before + MIB)?;
    ensure!(answer.contains(" 507 "), "{answer}");
    let answer = asked_first(&stack, &api, MIB)?;
    ensure!(answer.contains(" 100 "), "{answer}");
    eventually("the room of the second to be free again", || async { Ok((left()? == before).then_some(())) })
        .await?;

    // Without a size: refused when the reserve is reached, and nothing is left of it.
    let pieces = futures::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(noise(MIB))));
    let body = reqwest::Body::wrap_stream(pieces);
    let path = format!("/api/files?projectId={}&name=endless", stack.project);
    let refused = refusal(api.post(&path).body(body).send().await?).await?;
    assert_eq!(refused.status, StatusCode::INSUFFICIENT_STORAGE, "{refused:?}");
    eventually("nothing to be left of it", || async { Ok((left()? == before).then_some(())) }).await?;

    // Two that fit one by one: the room of the first is taken from its beginning.
    let half = left()? * 2 / 3;
    let (one, other) = tokio::join!(
        api.upload(stack.project, "one", noise(half)),
        api.upload(stack.project, "other", noise(half + 1))
    );
    let mut statuses = [one?.status().as_u16(), other?.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 507]);

    disk.fill("filler", RESERVE + RESERVE / 2)?;
    health(&api, "a warning", |status, disk| status == "ok" && disk.ok && disk.hint.is_some()).await?;
    is_recorded(&client, "disk-low").await?;
    good(api.upload(stack.project, "small", noise(left()? - MIB / 2)).await?).await?;
    ensure!(disk.free()? >= RESERVE);
    disk.fill("filler2", RESERVE)?;
    health(&api, "all but uploads to go on", |status, disk| status == "degraded" && !disk.ok).await?;
    let doctor = stack.ctl()?.arg("doctor").output()?;
    let doctor = String::from_utf8(doctor.stdout)?;
    ensure!(doctor.contains("✗ storage-disk"), "{doctor}");
    is_recorded(&client, "disk-low disk-full").await?;
    let metrics = api.anonymous("/metrics").send().await?.text().await?;
    ensure!(metrics.contains("nebula_disk_left_bytes{disk=\"storage\"} 0"), "{metrics}");
    ensure!(metrics.contains("nebula_disk_free_bytes{disk=\"database\"}"), "{metrics}");

    // A file that is deleted makes room, and uploads are taken again.
    fs::remove_file(disk.view().join("filler2"))?;
    let files: Vec<File> = api.read("/api/files").await?;
    let largest = files.iter().max_by_key(|file| file.size).context("no file")?;
    good(api.delete(&format!("/api/files/{}?permanently=true", largest.file_id)).send().await?).await?;
    good(api.upload(stack.project, "again", noise(MIB)).await?).await?;
    is_recorded(&client, "disk-low disk-full disk-ok").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_inodes_or_mounted_read_only_refuses_uploads_with_the_reason() -> Result<()> {
    let stack = Stack::start_on_disk("size=32m,nr_inodes=200", &[("NEBULA_DISK_RESERVE", "0")]).await?;
    let (api, disk) = (stack.admin().await?, stack.disk()?);
    let taken: Vec<_> =
        (0..).map_while(|number| fs::File::create(disk.view().join(format!("{number}"))).ok()).collect();
    let refused = refusal(api.upload(stack.project, "one", noise(9)).await?).await?;
    assert_eq!(refused.status, StatusCode::INSUFFICIENT_STORAGE);
    ensure!(refused.failure.detail.contains("inodes"), "{refused:?}");
    for number in 0..taken.len() {
        fs::remove_file(disk.view().join(format!("{number}")))?;
    }
    drop(taken);
    good(api.upload(stack.project, "one", noise(9)).await?).await?;
    disk.remount("ro")?;
    let refused = refusal(api.upload(stack.project, "two", noise(9)).await?).await?;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    ensure!(refused.failure.detail.contains("read-only") && refused.failure.hint.is_some(), "{refused:?}");
    disk.remount("rw")?;
    good(api.upload(stack.project, "two", noise(9)).await?).await?;
    Ok(())
}

/// Attempts left, failed attempts, and the last error of the job of a file.
async fn job_of(client: &Client, name: &str) -> Result<(i32, i32, Option<String>)> {
    let sql = "SELECT j.max_attempts - j.attempt, jsonb_array_length(j.errors), s.error
                 FROM nebula.job_status j JOIN nebula.file_status s USING (job_id) WHERE s.name = $1";
    let row = client.query_one(sql, &[&name]).await?;
    Ok((row.get(0), row.get(1), row.get(2)))
}

/// The least that was free on a disk, looked at every millisecond while an attempt writes.
struct Lowest {
    ended: Arc<AtomicBool>,
    watching: JoinHandle<Result<u64>>,
}

impl Lowest {
    fn watch(disk: &Path) -> Result<Self> {
        let (folder, ended) = (fs::File::open(disk)?, Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&ended);
        let watching = thread::spawn(move || {
            let mut lowest = u64::MAX;
            while !is_over.load(Relaxed) {
                let found = rustix::fs::fstatvfs(&folder)?;
                lowest = lowest.min(found.f_bavail * found.f_frsize);
                thread::park_timeout(Duration::from_millis(1));
            }
            Ok(lowest)
        });
        Ok(Self { ended, watching })
    }

    fn end(self) -> Result<u64> {
        self.ended.store(true, Relaxed);
        self.watching.join().map_err(|_| anyhow!("the watch ended early"))?
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_waits_for_room_without_using_up_an_attempt_and_goes_on_by_itself() -> Result<()> {
    let stack = Stack::start_on_disk("size=64m", &SETTINGS).await?;
    let (api, disk) = (stack.admin().await?, stack.disk()?);
    let client = stack.database.connect().await?;
    // Only the container changes, so that the output is about as large as the film.
    media::film(&stack.path("first.mkv"), FRIENDLY)?;
    // One byte more, which players skip: equal bytes are stored once.
    fs::write(stack.path("second.mkv"), [&fs::read(stack.path("first.mkv"))?[..], b"0"].concat())?;
    let size = fs::metadata(stack.path("first.mkv"))?.len();
    for name in ["first.mkv", "second.mkv"] {
        run(stack.ctl()?.args(["upload", "--quiet"]).arg(stack.path(name)))?;
    }
    // At first there is no room at all, then for three quarters, which shows while the output is written.
    let filler = disk.fill("filler", RESERVE + size * 3 / 4)?;
    let more = disk.fill("more", RESERVE + size / 4)?;
    let lowest = Lowest::watch(&disk.view())?;
    let _worker = stack.worker_with("worker", 30, &SETTINGS)?;
    for name in ["first.mkv", "second.mkv"] {
        let what = format!("{name} to wait");
        let waits = eventually(&what, || async {
            let (left, failed, error) = job_of(&client, name).await?;
            Ok(error.map(|error| (left, failed, error)))
        });
        let (left, failed, error) =
            waits.await.with_context(|| fs::read_to_string(stack.log("worker")).unwrap_or_default())?;
        ensure!(error.starts_with("waits for room"), "{error}");
        assert_eq!((left, failed), (5, 1), "{name}");
    }
    fs::remove_file(more)?;
    eventually("the output to be larger than the room", || async {
        let log = fs::read_to_string(stack.log("worker"))?;
        Ok((log.contains("larger than the room") || log.contains("waits for room: 8")).then_some(()))
    })
    .await?;
    ensure!(lowest.end()? >= RESERVE, "the reserve was touched");
    let listed: Value = serde_json::from_str(&run(stack.ctl()?.args(["ls", "--json"]))?)?;
    ensure!(listed.to_string().contains("waits for room"), "{listed}");
    fs::remove_file(filler)?;
    for name in ["first.mkv", "second.mkv"] {
        let file = api.settled(name).await?;
        assert_eq!((file.state.as_str(), file.error), ("ready", None), "{name}");
    }
    eventually("their pictures to be made", || async {
        let unfinished = "SELECT FROM nebula.content_job j WHERE nebula.is_unfinished(j.job_id) LIMIT 1";
        Ok(client.query_opt(unfinished, &[]).await?.is_none().then_some(()))
    })
    .await?;
    let recorded =
        "SELECT (SELECT count(*) FROM nebula.content), count(*), count(*) FILTER (WHERE kind = 'web')
                      FROM nebula.rendition";
    let recorded = client.query_one(recorded, &[]).await?;
    let [uploads, renditions, web] = [0, 1, 2].map(|column| recorded.get::<_, i64>(column));
    assert_eq!((uploads, web), (2, 2));
    let chunks: i64 = client.query_one("SELECT count(*) FROM nebula.chunk", &[]).await?.get(0);
    let mut stored = stack.stored()?;
    // The note of an upload, by which its client may ask again, is no object.
    stored.retain(|path| !path.to_string_lossy().contains("/.staging/uploads/"));
    assert_eq!(stored.len() as i64, uploads + renditions + chunks, "nothing half made");
    Ok(())
}
