//! Films in a bucket: jobs read their share of an upload, through lines that break.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::run;
use nebula_tests::bucket::Bucket;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use tokio_postgres::Client;

const MIB: u64 = 1 << 20;
/// Sixty seconds at some 5 Mbit/s, which are four chunks; its index is at the end.
const FILM: &str = "-v error -f lavfi -i testsrc2=size=320x240:rate=25:duration=60 -f lavfi -i sine=duration=60 \
    -vf noise=alls=60:allf=t -c:v mpeg4 -b:v 5M -minrate 5M -maxrate 5M -bufsize 1M -c:a aac";

/// Waits until there are so many finished jobs of a kind, and none that is not finished.
async fn finished(client: &Client, kind: &str, count: i64) -> Result<()> {
    eventually(&format!("{count} {kind} to be finished"), || async {
        let sql = "SELECT FROM nebula.job_finished WHERE kind = $1 HAVING count(*) = $2";
        Ok(client.query_opt(sql, &[&kind, &count]).await?.map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_of_a_film_in_a_bucket_reads_its_share_through_lines_that_break() -> Result<()> {
    let mut stack = Stack::start().await?;
    let bucket = Bucket::start(&stack.path("bucket")).await?;
    let settings = bucket.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stack.restart_with(&settings).await?;
    let film = stack.path("film.mkv");
    run(Command::new("ffmpeg").args(FILM.split_whitespace()).arg(&film))?;
    let size = film.metadata()?.len();
    ensure!(size > 24 * MIB, "{size}");
    let client = stack.database.connect().await?;
    let kinds = ["transcode-chunk", "transcode-audio", "transcode-join", "transcode-pictures"];
    let [chunks, sounds, join, _] = kinds;
    for kind in kinds {
        client.execute("SELECT nebula.pause_jobs($1)", &[&kind]).await?;
    }
    let resume = async |kind: &str| client.execute("SELECT nebula.resume_jobs($1)", &[&kind]).await;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(&film))?;
    let read = || bucket.sent("/original").0;
    let before = read();
    let _worker = stack.worker_with("worker", 30, &settings)?;

    finished(&client, "transcode", 1).await?;
    let plan = read() - before;
    ensure!(plan < 6 * MIB, "a plan needs the start and the index, not {plan} of {size} bytes");

    resume(chunks).await?;
    finished(&client, chunks, 4).await?;
    let made = read() - before - plan;
    // Four shares, each with the start, the index and what was on its way when the chunk was complete.
    ensure!(made < size + 4 * 6 * MIB, "four chunks together read {made} bytes of a film of {size}");

    bucket.break_off(5);
    resume(sounds).await?;
    finished(&client, sounds, 1).await?;
    assert_eq!(bucket.to_break(), 0, "some lines broke while the sound was made");
    resume(join).await?;
    let file = stack.admin().await?.settled("film.mkv").await?;
    assert_eq!(file.state, "ready", "{:?}", file.error);
    let again = "SELECT count(*) FROM nebula.job_finished WHERE attempt > 1";
    assert_eq!(client.query_one(again, &[]).await?.get::<_, i64>(0), 0, "broken lines cost no attempt");

    run(stack.ctl()?.args(["get", "film.mkv", "-o"]).arg(stack.path("web.mp4")))
        .context("the film can be fetched")?;
    let web = nebula_tests::media::probe(&stack.path("web.mp4"))?;
    assert!((nebula_tests::media::duration(&web)? - 60.0).abs() < 0.2);
    for codec in ["video", "audio"] {
        ensure!(nebula_tests::media::codec(&web, codec).is_some(), "{web}");
    }
    Ok(())
}
