//! Films are uploaded, transcoded, and downloaded by ranges.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nebula_api::file::File;
use nebula_tests::api::{Api, good};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::hls::Streams;
use nebula_tests::media::{self, FRIENDLY, MODERN, OLD, Recipe};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::Value;

/// Uploads a film with `nebulactl`, waits for its web rendition, and fetches that by ranges.
async fn through(stack: &Stack, api: &Api, name: &str, recipe: Recipe) -> Result<(PathBuf, PathBuf, File)> {
    let original = stack.path(name);
    media::film(&original, recipe)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(&original))?;
    let file = api.settled(name).await?;
    assert_eq!(file.state, "ready", "{name}: {:?}\n{}", file.error, fs::read_to_string(stack.log("worker"))?);
    let bytes = by_ranges(api, &file).await?;
    let played = original.with_extension("played.mp4");
    fs::write(&played, bytes)?;
    Ok((original, played, file))
}

/// Fetches the content in three ranges and joins them.
async fn by_ranges(api: &Api, file: &File) -> Result<Vec<u8>> {
    let path = format!("/api/files/{}/content", file.file_id);
    let head = good(api.head(&path).send().await?).await?;
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    let etag = head.headers()["etag"].clone();
    let size: usize = head.headers()["content-length"].to_str()?.parse()?;
    let mut bytes = Vec::new();
    for range in [
        format!("bytes=0-{}", size / 3),
        format!("bytes={}-{}", size / 3 + 1, size - 100),
        "bytes=-99".into(),
    ] {
        let answer = api.get(&path).header("Range", &range).header("If-Range", &etag).send().await?;
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        bytes.extend(answer.bytes().await?);
    }
    assert_eq!(bytes.len(), size);
    let whole = good(api.get(&path).send().await?).await?.bytes().await?;
    assert!(whole == bytes, "ranges add up to the whole");

    let past = api.get(&path).header("Range", format!("bytes={size}-")).send().await?;
    assert_eq!(past.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(past.headers()["content-range"], format!("bytes */{size}").as_str());
    let other = api.get(&path).header("Range", "bytes=0-9").header("If-Range", "\"another\"").send().await?;
    assert_eq!(
        (other.status(), other.bytes().await?.len()),
        (StatusCode::OK, size),
        "If-Range of another version"
    );
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_film_becomes_playable() -> Result<()> {
    let stack = Stack::start().await?;
    let _worker = stack.worker("worker", 30)?;
    let api = stack.admin().await?;
    for (name, recipe, decision) in [
        ("friendly.mkv", FRIENDLY, "remux"),
        ("modern.mkv", MODERN, "transcode"),
        ("old.mkv", OLD, "transcode"),
    ] {
        let (original, played, file) = through(&stack, &api, name, recipe).await?;
        let (before, after) = (media::probe(&original)?, media::probe(&played)?);
        assert_eq!(media::codec(&after, "video"), Some("h264"), "{name}");
        assert_eq!(media::codec(&after, "audio"), Some("aac"), "{name}");
        assert_eq!(media::codec(&after, "subtitle"), Some("mov_text"), "{name}");
        let drift = media::duration(&before)? - media::duration(&after)?;
        assert!(drift.abs() < 0.1, "{name}: durations differ by {drift} s");
        let order = media::boxes(&fs::read(&played)?);
        let place = |kind| order.iter().position(|found| found == kind).context("a box is missing");
        assert!(place("moov")? < place("mdat")?, "{name}: {order:?}");
        assert_eq!(file.renditions[0].detail["decision"], decision, "{name}");
        if decision == "remux" {
            assert_eq!(
                media::video_packets(&original)?,
                media::video_packets(&played)?,
                "{name}: bit-identical packets"
            );
        }
    }
    let listed = run(stack.ctl()?.args(["ls", "--json"]))?;
    let listed: Value = serde_json::from_str(&listed)?;
    assert!(listed.to_string().contains("modern.mkv"));
    let url = run(stack.ctl()?.args(["play", "old.mkv", "--print-url"]))?;
    let played = reqwest::get(url.trim()).await?;
    assert_eq!(played.headers()["content-type"], "video/mp4");
    assert_eq!(
        good(played).await?.bytes().await?.len() as i64,
        api.settled("old.mkv").await?.renditions[0].size
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_completes_the_job_of_a_killed_one() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let original = stack.path("large.mkv");
    media::large_film(&original)?;
    let mut doomed = stack.worker("doomed", 3)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(&original))?;
    let client = stack.database.connect().await?;
    eventually("the first worker to be in the middle of the job", || async {
        // Some chunks are made, and one is begun.
        let half = "SELECT FROM nebula.job_running r
                     WHERE r.worker = 'doomed' AND r.kind = 'transcode-chunk' AND r.progress > 0.02
                       AND (SELECT count(*) FROM nebula.chunk) > 2";
        Ok(client.query_opt(half, &[]).await?)
    })
    .await
    .with_context(|| fs::read_to_string(stack.log("doomed")).unwrap_or_default())?;
    let film: Vec<File> = api.read("/api/files").await?;
    let mut streams = Streams::of(&api, film[0].file_id);
    ensure!(!streams.judge().await?.is_complete, "it is still being made");
    doomed.kill()?;
    let _heir = stack.worker("heir", 30)?;
    let file = api.settled("large.mkv").await?;
    assert_eq!(file.state, "ready", "{:?}", file.error);
    let judged = streams.judge().await?;
    ensure!(judged.is_complete && judged.segments == 20, "{judged:?}");
    let repeated = "SELECT kind, attempt, errors::text FROM nebula.job_finished WHERE attempt > 1";
    let repeated = client.query_one(repeated, &[]).await.context("more than one chunk was made again")?;
    assert_eq!((repeated.get(0), repeated.get(1)), ("transcode-chunk", 2));
    assert!(repeated.get::<_, String>(2).contains("doomed"), "the history names the lost worker");
    assert_known(&stack, &client).await
}

/// Nothing half made is in the store, once no job runs.
async fn assert_known(stack: &Stack, client: &tokio_postgres::Client) -> Result<()> {
    eventually("no job to run", || async {
        Ok(client.query_opt("SELECT FROM nebula.job_running LIMIT 1", &[]).await?.is_none().then_some(()))
    })
    .await?;
    let known = "SELECT storage_key FROM nebula.content UNION ALL SELECT storage_key FROM nebula.rendition
                  UNION ALL SELECT storage_key FROM nebula.chunk";
    let known = client.query(known, &[]).await?;
    let mut known: Vec<_> = known.iter().map(|row| stack.store().join(row.get::<_, &str>(0))).collect();
    let mut stored = stack.stored()?;
    // The note of an upload, by which its client may ask again, is no object.
    stored.retain(|path| !path.to_string_lossy().contains("/.staging/uploads/"));
    known.sort();
    stored.sort();
    assert_eq!(stored, known);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_hands_its_job_back() -> Result<()> {
    let stack = Stack::start().await?;
    let original = stack.path("large.mkv");
    media::large_film(&original)?;
    let mut leaving = stack.worker_with("leaving", 3, &[("NEBULA_GRACE", "0")])?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(&original))?;
    let client = stack.database.connect().await?;
    eventually("the worker to start", || async {
        let begun =
            "SELECT FROM nebula.job_running WHERE kind = 'transcode-chunk' AND progress BETWEEN 0.01 AND 0.5";
        Ok(client.query_opt(begun, &[]).await?)
    })
    .await?;
    leaving.signal(rustix::process::Signal::TERM)?;
    let code =
        tokio::time::timeout(Duration::from_secs(30), tokio::task::spawn_blocking(move || leaving.wait()))
            .await???;
    assert_eq!(code, Some(0), "{}", fs::read_to_string(stack.log("leaving"))?);
    let left = "SELECT (SELECT count(*) FROM nebula.job_running),
                       (SELECT count(*) FROM nebula.job_waiting WHERE attempt > 0),
                       (SELECT count(*) FROM nebula.job_waiting w WHERE w.errors <> '[]')";
    let left = client.query_one(left, &[]).await?;
    assert_eq!(
        [left.get::<_, i64>(0), left.get(1), left.get(2)],
        [0, 1, 0],
        "handed back, not lost or failed"
    );
    assert_known(&stack, &client).await
}
