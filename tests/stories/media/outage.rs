//! Work that is finished while the database is away is recorded when it is back.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use nebula_tests::api::good;
use nebula_tests::binary::run;
use nebula_tests::cluster::{Cluster, PRELOAD};
use nebula_tests::eventually;
use nebula_tests::media;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use tokio::sync::mpsc;

const LEASE: u32 = 3;
/// The job that a line of a worker's log names.
fn job_of(line: &str) -> Option<i64> {
    let rest = line.split_once("job=")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_finished_in_an_outage_longer_than_its_lease_is_recorded_afterwards() -> Result<()> {
    let mut cluster = Cluster::start(&["fsync=off", PRELOAD]).await?;
    let stack = Stack::start_on(cluster.database().await?, "25519").await?;
    let api = stack.admin().await?;
    media::large_film(&stack.path("film.mkv"))?;
    let _first = stack.worker("first", LEASE)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(stack.path("film.mkv")))?;
    let client = stack.database.connect().await?;
    eventually("the worker to be in the middle of the film", || async {
        let sql = "SELECT FROM nebula.job_running WHERE kind = 'transcode-chunk'";
        Ok(client.query_opt(sql, &[]).await?)
    })
    .await?;
    // It would take the job as soon as it may.
    let _second = stack.worker("second", LEASE)?;
    eventually("the second worker to wait for jobs", || async {
        let sql = "SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%' HAVING count(*) > 1";
        Ok(client.query_opt(sql, &[]).await?)
    })
    .await?;

    // An upload whose bytes arrive meanwhile is another piece of finished work.
    let (pieces, body) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body =
        futures::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) });
    let request = api.post(&format!("/api/files?projectId={}&name=notes", stack.project));
    let sending = tokio::spawn(request.body(reqwest::Body::wrap_stream(body.boxed())).send());
    pieces.send(Ok(vec![b'a'; 1 << 20])).await?;
    eventually("the upload to be received", || async {
        let found = fs::read_dir(stack.store().join(".staging"))?.flatten();
        Ok(found
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("upload-"))
            .then_some(()))
    })
    .await?;

    cluster.crash().await?;
    let since = Instant::now();
    drop(pieces);
    let job = eventually("a chunk to be finished and its lease to be over", || async {
        let log = fs::read_to_string(stack.log("first"))?;
        let finished = log.lines().find(|line| line.contains("finished, but not yet recorded"));
        let over = since.elapsed() > Duration::from_secs(u64::from(LEASE) + 1);
        Ok(finished.filter(|_| over).and_then(job_of))
    })
    .await
    .with_context(|| fs::read_to_string(stack.log("first")).unwrap_or_default())?;
    cluster.resume().await?;
    let uploaded = good(sending.await??).await?;
    assert_eq!(uploaded.status(), StatusCode::CREATED);
    let client = stack.database.connect().await?;
    let row = eventually("the job to be finished", || async {
        let sql = "SELECT state, attempt, errors::text, worker FROM nebula.job_finished WHERE job_id = $1";
        Ok(client.query_opt(sql, &[&job]).await?)
    })
    .await?;
    let finished: (&str, i32, &str, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(finished, ("succeeded", 1, "[]", "first"), "done once, by the worker that had it");
    assert_eq!(api.settled("film.mkv").await?.state, "ready");
    Ok(())
}
