//! Companions of a film: its poster, the small pictures to seek by, and its subtitles.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_api::file::{File, Link};
use nebula_tests::api::{Api, data, good};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::json;

/// Seven seconds in a form that no browser plays, with two subtitles.
const FILM: &str = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=7 -f lavfi -i sine=duration=7 -i english.srt \
    -i german.srt -map 0 -map 1 -map 2 -map 3 -c:v mpeg4 -q:v 5 -g 25 -c:a flac -c:s:0 srt -c:s:1 ass \
    -metadata:s:s:0 language=eng -metadata:s:s:1 language=ger -metadata:s:s:1 title=Erzwungen \
    -disposition:s:1 forced";

/// Makes the film of [`FILM`].
pub(crate) fn film(stack: &Stack, name: &str) -> Result<std::path::PathBuf> {
    for (file, text) in [("english.srt", "Good evening"), ("german.srt", "Schönen guten Abend")] {
        fs::write(stack.path(file), format!("1\n00:00:01,000 --> 00:00:06,000\n{text}\n"))?;
    }
    let path = stack.path(name);
    let folder = path.parent().context("no folder")?;
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]).args(FILM.split_whitespace()).arg(&path).current_dir(folder);
    run(&mut ffmpeg)?;
    Ok(path)
}

async fn text(api: &Api, path: &str) -> Result<String> {
    Ok(good(api.get(path).send().await?).await?.text().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_has_a_poster_pictures_to_seek_by_and_its_subtitles() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let _worker = stack.worker("worker", 30)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(film(&stack, "film.mkv")?))?;
    api.settled("film.mkv").await?;
    let file = eventually("its pictures to be made", || async {
        let files: Vec<File> = api.read("/api/files").await?;
        let [file] = files.as_slice() else { return Ok(None) };
        Ok(file.renditions.iter().any(|one| one.kind == "poster").then(|| file.clone()))
    })
    .await
    .with_context(|| fs::read_to_string(stack.log("worker")).unwrap_or_default())?;
    let path = format!("/api/files/{}", file.file_id);
    let kinds: Vec<_> = file.renditions.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["web", "poster", "sprites-0", "sprites-vtt", "subtitle-0", "subtitle-1"]);
    assert_eq!(file.renditions[1].detail, json!({"width": 320, "height": 180, "warnings": []}));

    let poster = good(api.get(&format!("{path}/poster")).send().await?).await?;
    assert_eq!(poster.headers()["content-type"], "image/jpeg");
    assert_eq!(poster.headers()["cache-control"], "private, no-cache");
    let etag = poster.headers()["etag"].clone();
    ensure!(poster.bytes().await?.starts_with(&[0xff, 0xd8, 0xff]));
    let again = api.get(&format!("{path}/poster")).header("If-None-Match", &etag).send().await?;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let version = &file.renditions[1].sha256;
    let versioned = good(api.get(&format!("{path}/poster?v={version}")).send().await?).await?;
    ensure!(versioned.headers()["cache-control"].to_str()?.contains("immutable"));
    let other = good(api.get(&format!("{path}/poster?v=00")).send().await?).await?;
    assert_eq!(
        other.headers()["cache-control"],
        "private, no-cache",
        "another version must not be kept for ever"
    );
    assert_eq!(api.anonymous(&format!("{path}/poster")).send().await?.status(), StatusCode::UNAUTHORIZED);

    let index = text(&api, &format!("{path}/sprites.vtt")).await?;
    let first = index.lines().find(|line| line.contains("#xywh=0,0,160,90")).context(index.clone())?;
    ensure!(first == "sprites/0.jpg#xywh=0,0,160,90" && index.matches("-->").count() >= 3, "{index}");
    good(api.get(&format!("{path}/sprites/0.jpg")).send().await?).await?;
    assert_eq!(api.get(&format!("{path}/sprites/1.jpg")).send().await?.status(), StatusCode::NOT_FOUND);

    // The holder of a link gets all of it, and playlists and indexes name it so.
    let link: Link = data(good(api.post(&format!("{path}/link?rendition=hls")).send().await?).await?).await?;
    let token = link.path.split_once('?').context("no token")?.1;
    let open = async |rest: &str| {
        anyhow::Ok(good(api.anonymous(&format!("{path}/{rest}")).send().await?).await?.text().await?)
    };
    let index = open(&format!("sprites.vtt?{token}")).await?;
    let sheet = index.lines().find(|line| line.ends_with("#xywh=0,0,160,90")).context(index.clone())?;
    let sheet =
        api.anonymous(&format!("{path}/{}", sheet.split_once('#').context("no place")?.0)).send().await?;
    assert_eq!(good(sheet).await?.headers()["content-type"], "image/jpeg");
    let poster = api.anonymous(&format!("{path}/poster?{token}")).send().await?;
    assert_eq!(good(poster).await?.headers()["content-type"], "image/jpeg");
    let master = good(api.anonymous(&link.path).send().await?).await?.text().await?;
    let english = "TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO";
    let german = "TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"Erzwungen\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES";
    ensure!(master.contains(english) && master.contains(german), "{master}");
    let playlist = open(&format!("hls/subtitle-1.m3u8?{token}")).await?;
    let name =
        playlist.lines().find(|line| line.starts_with("subtitle-1.vtt?token=")).context(playlist.clone())?;
    assert_eq!(
        open(&format!("hls/{name}")).await?,
        "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:90000\n\n00:00:01.000 --> 00:00:06.000\nSchönen guten Abend\n"
    );

    good(api.delete(&format!("{path}?permanently=true")).send().await?).await?;
    // The note of the upload, by which its client may ask again, is no object.
    eventually("the store to be empty", || async {
        let is_object = |path: &std::path::PathBuf| !path.to_string_lossy().contains("/.staging/");
        Ok((!stack.stored()?.iter().any(is_object)).then_some(()))
    })
    .await
}
