//! The player of the console in a real Chromium: streams of a film that a real worker has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nebula_api::file::File;
use nebula_api::share::MadeShare;
use nebula_tests::api::{Api, data, good};
use nebula_tests::binary::{root, run};
use nebula_tests::eventually;
use nebula_tests::hls::{Judged, Streams};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use serde_json::{Value, json};

/// 20 seconds in a form that no browser plays, larger than the smallest size that is made, with two subtitles.
const FILM: &str = "-f lavfi -i testsrc2=size=960x540:rate=25:duration=20 -f lavfi -i sine=duration=20 \
                    -i english.srt -i german.srt -map 0 -map 1 -map 2 -map 3 -c:v mpeg4 -q:v 5 -c:a flac -c:s srt \
                    -metadata:s:s:0 language=eng -metadata:s:s:1 title=Untertitel";
/// A smaller one with one subtitle.
const LATE: &str = "-f lavfi -i testsrc2=size=640x480:rate=25:duration=8 -f lavfi -i sine=duration=8 \
                    -i english.srt -map 0 -map 1 -map 2 -c:v mpeg4 -q:v 5 -c:a flac -c:s srt \
                    -metadata:s:s:0 language=eng";
/// Subtitles of no film.
const NOTHING: &str = "-i english.srt -c:s srt";

fn make(folder: &Path, name: &str, recipe: &str) -> Result<PathBuf> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]).args(recipe.split_whitespace()).arg(name);
    run(ffmpeg.current_dir(folder))?;
    Ok(folder.join(name))
}

async fn is_made(api: &Api, name: &str, kind: &str) -> Result<Option<()>> {
    let files: Vec<File> = api.read("/api/files").await?;
    let film = files.iter().find(|file| file.name == name);
    Ok(film.and_then(|film| film.renditions.iter().any(|one| one.kind == kind).then_some(())))
}

async fn share(api: &Api, body: Value) -> Result<MadeShare> {
    data(good(api.post("/api/shares").json(&body).send().await?).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_watched_in_a_browser_while_more_of_it_is_made() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, client) = (stack.admin().await?, stack.database.connect().await?);
    let films = stack.path("films");
    fs::create_dir_all(&films)?;
    for (file, text) in [("english.srt", "Good evening"), ("german.srt", "Schönen guten Abend")] {
        fs::write(films.join(file), format!("1\n00:00:04,000 --> 00:00:09,500\n{text}\n"))?;
    }
    let _worker = stack.worker("worker", 30)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(make(&films, "film.mkv", FILM)?))?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(make(&films, "nothing.mkv", NOTHING)?))?;
    let film = api.settled("film.mkv").await?;
    assert_eq!(film.state, "ready");
    eventually("its poster to be made", || is_made(&api, "film.mkv", "poster")).await?;
    eventually("its subtitles to be made", || is_made(&api, "film.mkv", "subtitle-1")).await?;
    let judged = Streams::of(&api, film.file_id).judge().await?;
    assert_eq!(judged, Judged { variants: 3, segments: 15, is_complete: true });
    // The subtitles of this one are made when the browser plays it.
    client.execute("SELECT nebula.pause_jobs('transcode-pictures')", &[]).await?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(make(&films, "late.mkv", LATE)?))?;
    let late = api.settled("late.mkv").await?;
    let place = json!({"folder": "cinema"});
    good(api.patch(&format!("/api/files/{}", late.file_id)).json(&place).send().await?).await?;
    let link = share(&api, json!({"fileId": film.file_id, "password": "rosebud"})).await?;
    let folder = share(&api, json!({"projectId": stack.project, "folder": "cinema"})).await?;
    // Pictures for people, where the environment wants them.
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures)?;
    let mut browser = Command::new("npm");
    browser.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "player"]);
    browser.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
    browser.env("NEBULA_SHARE", link.path).env("NEBULA_SHARED_FOLDER", folder.path);
    browser.env("NEBULA_PICTURES", &pictures);
    let browser = tokio::task::spawn_blocking(move || run(&mut browser));
    let begun = "SELECT FROM nebula.bookmark b WHERE b.file_id = $1";
    let plays = async {
        eventually("the browser to play the film", || async {
            Ok(client.query_opt(begun, &[&late.file_id]).await?)
        })
        .await?;
        client.execute("SELECT nebula.resume_jobs('transcode-pictures')", &[]).await?;
        anyhow::Ok(())
    };
    let (plays, watched) = tokio::join!(plays, browser);
    // The browser's own words come first, where it has failed.
    watched.context("the browser was not run to its end")??;
    plays
}
