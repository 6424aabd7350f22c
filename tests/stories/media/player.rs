//! The player of the console in a real Chromium: streams of a film that a real worker has made.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use nebula_api::share::MadeShare;
use nebula_tests::api::{data, good};
use nebula_tests::binary::{root, run};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use serde_json::json;

/// 20 seconds in a form that no browser plays, larger than the smallest size that is made.
const FILM: &str = "-f lavfi -i testsrc2=size=960x540:rate=25:duration=20 -f lavfi -i sine=duration=20 \
                    -c:v mpeg4 -q:v 5 -c:a flac";

#[tokio::test(flavor = "multi_thread")]
async fn a_film_changes_its_quality_while_it_plays_in_a_browser() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = stack.path("film.mkv");
    run(Command::new("ffmpeg").args(["-v", "error", "-y"]).args(FILM.split_whitespace()).arg(&film))?;
    let _worker = stack.worker("worker", 30)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(&film))?;
    let film = api.settled("film.mkv").await?;
    assert_eq!(film.state, "ready");
    let share =
        api.post("/api/shares").json(&json!({"fileId": film.file_id, "password": "rosebud"})).send().await?;
    let share: MadeShare = data(good(share).await?).await?;
    // Pictures for people, where the environment wants them.
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures)?;
    let mut browser = Command::new("npm");
    browser.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "player"]);
    browser.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
    run(browser.env("NEBULA_SHARE", share.path).env("NEBULA_PICTURES", &pictures))?;
    Ok(())
}
