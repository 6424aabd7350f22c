//! The decision how a file is played: by what the client can, recorded with its reasons.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_api::file::File;
use nebula_api::playback::Playback;
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::media::{FRIENDLY, film};
use nebula_tests::stack::Stack;
use serde_json::{Value, json};

async fn ask(api: &Api, file: &File, client: &Value) -> Result<(Playback, String)> {
    let path = format!("/api/files/{}/playback", file.file_id);
    let answer = good(api.post(&path).header("user-agent", "story").json(client).send().await?).await?;
    let playback: Playback = data(answer).await?;
    let reasons = serde_json::to_string(&playback.reasons)?;
    Ok((playback, reasons))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_upload_if_it_can_play_it_and_else_what_was_changed_least() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, ben) = (stack.admin().await?, stack.member("ben").await?);
    let path = stack.path("film.mkv");
    film(&path, FRIENDLY)?;
    let uploaded = api.upload(stack.project, "film.mkv", std::fs::read(&path)?).await?;
    let file: File = data(good(uploaded).await?).await?;
    let browser = json!({
        "containers": ["mp4"], "video": [{"codec": "h264", "maxLevel": 5.1}], "audio": [{"codec": "aac"}], "hls": true,
    });
    let (early, reasons) = ask(&api, &file, &browser).await?;
    ensure!(early.url.is_none() && early.rendition.is_none(), "{early:?}");
    assert_eq!(reasons, r#"["uploadUnknown","notMadeYet"]"#);

    let _worker = stack.worker("worker", 30)?;
    assert_eq!(api.settled("film.mkv").await?.state, "ready");
    let (remuxed, reasons) = ask(&api, &file, &browser).await?;
    assert_eq!((json!(remuxed.decision), reasons.as_str()), (json!("remux"), r#"["container"]"#));
    let played = good(api.anonymous(&remuxed.url.context("no url")?).send().await?).await?;
    assert_eq!(played.headers()["content-type"], "video/mp4");

    let mut player = browser.clone();
    player["containers"] = json!(["matroska"]);
    let (direct, reasons) = ask(&api, &file, &player).await?;
    assert_eq!((json!(direct.decision), reasons.as_str()), (json!("direct"), "[]"));
    let played = good(api.anonymous(&direct.url.context("no url")?).send().await?).await?;
    ensure!(played.bytes().await? == std::fs::read(&path)?, "the upload itself");

    player["video"] = json!([{"codec": "h264", "profiles": ["Main"]}]);
    let (nothing, reasons) = ask(&ben, &file, &player).await?;
    ensure!(nothing.url.is_none(), "{nothing:?}");
    // The encoder's fastest preset makes Constrained Baseline.
    assert_eq!(reasons, r#"["videoProfile","nothingFits"]"#);

    let client = stack.database.connect().await?;
    let recorded = "SELECT string_agg(concat_ws(' ', a.username, p.decision, coalesce(p.rendition, '-'), p.program), '; '
                                      ORDER BY p.decided_at)
                      FROM nebula.playback p JOIN nebula.account a USING (account_id)";
    let recorded: String = client.query_one(recorded, &[]).await?.get(0);
    assert_eq!(
        recorded, "admin direct original story; ben full - story",
        "the last decision of each account"
    );
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    let foreign = ben.post(&format!("/api/files/{}/playback", file.file_id)).json(&browser).send().await?;
    assert_eq!(refusal(foreign).await?.status.as_u16(), 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_for_players_begin_where_the_account_stopped() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let file: File = data(good(api.upload(stack.project, "a.txt", b"bytes".to_vec()).await?).await?).await?;
    let link =
        |options: &[&str]| -> Result<String> { run(stack.ctl()?.args(options).args(["link", "a.txt"])) };
    let plain = link(&[])?;
    ensure!(plain.contains("file ") && !plain.contains("stream ") && !plain.contains("stopped"), "{plain}");
    let url = link(&["--quiet"])?;
    assert_eq!(good(reqwest::get(url.trim()).await?).await?.bytes().await?, "bytes");
    let bookmark = json!({"seconds": 61.5, "duration": 1000});
    good(api.put(&format!("/api/files/{}/bookmark", file.file_id)).json(&bookmark).send().await?).await?;
    ensure!(link(&[])?.contains("--start-time=61.5"), "VLC is told how");
    let playlist = run(stack.ctl()?.args(["link", "a.txt", "--m3u"]))?;
    let lines: Vec<_> = playlist.lines().collect();
    assert_eq!((lines[0], lines[1], lines[2]), ("#EXTM3U", "#EXTINF:-1,a.txt", "#EXTVLCOPT:start-time=61.5"));
    ensure!(lines[3].starts_with(&stack.url()), "{playlist}");
    Ok(())
}

/// Subtitles of no film, which the door takes and no worker converts.
fn unconvertible(stack: &Stack) -> Result<Vec<u8>> {
    let (text, film) = (stack.path("a.srt"), stack.path("nothing.mkv"));
    std::fs::write(&text, "1\n00:00:01,000 --> 00:00:02,000\nNobody\n")?;
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(&text)
        .args(["-c:s", "srt"])
        .arg(&film))?;
    Ok(std::fs::read(&film)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_failed_is_tried_again_or_kept_as_it_is() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, ben) = (stack.admin().await?, stack.member("ben").await?);
    let uploaded = api.upload(stack.project, "nothing.mkv", unconvertible(&stack)?).await?;
    let file: File = data(good(uploaded).await?).await?;
    let path = format!("/api/files/{}/conversion", file.file_id);
    let convert =
        async |wanted: bool| anyhow::Ok(api.put(&path).json(&json!({"wanted": wanted})).send().await?);
    assert_eq!(refusal(convert(true).await?).await?.status.as_u16(), 409, "it has not failed yet");
    let _worker = stack.worker("worker", 30)?;
    let failed = api.settled("nothing.mkv").await?;
    ensure!(failed.state == "failed" && failed.error.is_some(), "{failed:?}");
    let again: File = data(good(convert(true).await?).await?).await?;
    ensure!(again.job_id != file.job_id && again.job_id.is_some(), "{again:?}");
    assert_eq!(api.settled("nothing.mkv").await?.state, "failed");
    let kept: File = data(good(convert(false).await?).await?).await?;
    assert_eq!((kept.state.as_str(), kept.error, kept.job_id), ("ready", None, None));
    assert_eq!(refusal(convert(false).await?).await?.status.as_u16(), 409, "it is no failure any more");
    let client = stack.database.connect().await?;
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    let foreign = ben.put(&path).json(&json!({"wanted": true})).send().await?;
    assert_eq!(refusal(foreign).await?.status.as_u16(), 404);
    Ok(())
}
