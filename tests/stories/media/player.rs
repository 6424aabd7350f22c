//! The player of the console in a real Chromium: streams of a film that a real worker has made.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use nebula_api::file::File;
use nebula_api::share::MadeShare;
use nebula_tests::api::{data, good};
use nebula_tests::binary::{root, run};
use nebula_tests::eventually;
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use serde_json::json;

/// 20 seconds in a form that no browser plays, larger than the smallest size that is made, with two subtitles.
const FILM: &str = "-f lavfi -i testsrc2=size=960x540:rate=25:duration=20 -f lavfi -i sine=duration=20 \
                    -i english.srt -i german.srt -map 0 -map 1 -map 2 -map 3 -c:v mpeg4 -q:v 5 -c:a flac -c:s srt \
                    -metadata:s:s:0 language=eng -metadata:s:s:1 title=Untertitel";

#[tokio::test(flavor = "multi_thread")]
async fn a_film_changes_its_quality_while_it_plays_in_a_browser() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = stack.path("film.mkv");
    for (file, text) in [("english.srt", "Good evening"), ("german.srt", "Schönen guten Abend")] {
        fs::write(stack.path(file), format!("1\n00:00:04,000 --> 00:00:09,500\n{text}\n"))?;
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]).args(FILM.split_whitespace()).arg(&film);
    run(ffmpeg.current_dir(film.parent().context("no folder")?))?;
    let _worker = stack.worker("worker", 30)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(&film))?;
    let film = api.settled("film.mkv").await?;
    assert_eq!(film.state, "ready");
    let share =
        api.post("/api/shares").json(&json!({"fileId": film.file_id, "password": "rosebud"})).send().await?;
    let share: MadeShare = data(good(share).await?).await?;
    eventually("its poster and subtitles to be made", || async {
        let files: Vec<File> = api.read("/api/files").await?;
        let is_made =
            |kind: &str| files.iter().any(|file| file.renditions.iter().any(|one| one.kind == kind));
        Ok((is_made("poster") && is_made("subtitle-1")).then_some(()))
    })
    .await?;
    // Pictures for people, where the environment wants them.
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures)?;
    let mut browser = Command::new("npm");
    browser.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "player"]);
    browser.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
    run(browser.env("NEBULA_SHARE", share.path).env("NEBULA_PICTURES", &pictures))?;
    Ok(())
}
