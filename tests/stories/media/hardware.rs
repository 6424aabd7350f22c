//! Films are made whether or not a device encodes them, and say why.

use std::fs;

use anyhow::{Result, ensure};
use nebula_tests::binary::run;
use nebula_tests::media::{self, MODERN};
use nebula_tests::stack::Stack;
use nebula_tests::{eventually, media::codec};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_cannot_be_used_is_named_and_the_film_is_made_by_the_processor() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let device = stack.path("renderD128");
    fs::write(&device, "not a device")?;
    let device = device.display().to_string();
    let _worker = stack.worker_with("worker", 30, &[("NEBULA_RENDER_DEVICE", &device)])?;
    media::film(&stack.path("one.mkv"), MODERN)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(stack.path("one.mkv")))?;
    assert_eq!(api.settled("one.mkv").await?.state, "ready");
    let client = stack.database.connect().await?;
    let method = async |name: &str| {
        let sql = "SELECT media -> 'method' FROM nebula.content JOIN nebula.file USING (content_id) WHERE name = $1";
        Ok::<Value, anyhow::Error>(client.query_one(sql, &[&name]).await?.get(0))
    };
    let told = method("one.mkv").await?;
    assert_eq!((&told["encoder"], &told["hardwareDecode"]), (&"software".into(), &false.into()));
    ensure!(told["reasons"][0].as_str().is_some_and(|reason| reason.contains("cannot be opened")), "{told}");

    // A film that was planned for a device, which fails when its chunk is made: on another node, or from now on.
    client.execute("SELECT nebula.pause_jobs('transcode-chunk')", &[]).await?;
    let recipe = media::Recipe { seconds: 2, ..MODERN };
    media::film(&stack.path("two.mkv"), recipe)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(stack.path("two.mkv")))?;
    eventually("the film to be planned", || async {
        let planned =
            "UPDATE nebula.job_waiting SET payload = jsonb_set(payload, '{method,encoder}', '\"vaapi\"')
                        WHERE kind = 'transcode-chunk' RETURNING job_id";
        Ok(client.query_opt(planned, &[]).await?)
    })
    .await?;
    client.execute("SELECT nebula.resume_jobs('transcode-chunk')", &[]).await?;
    let file = api.settled("two.mkv").await?;
    assert_eq!(file.state, "ready", "{:?}", file.error);
    let told = method("two.mkv").await?;
    ensure!(told["reasons"][0].as_str().is_some_and(|reason| reason.contains("cannot be opened")), "{told}");
    let plans = "SELECT count(*) FROM nebula.job_finished WHERE kind = 'transcode' AND payload ->> 'name' = 'two.mkv'";
    assert_eq!(client.query_one(plans, &[]).await?.get::<_, i64>(0), 2, "planned twice");
    run(stack.ctl()?.args(["get", "two.mkv", "-o"]).arg(stack.path("web.mp4")))?;
    assert_eq!(codec(&media::probe(&stack.path("web.mp4"))?, "video"), Some("h264"));
    Ok(())
}
