//! Files that are no films: subtitles beside a film, and pictures.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_api::file::{File, Link};
use nebula_tests::api::{Api, data, good};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::media::{self, FRIENDLY, MODERN};
use nebula_tests::stack::Stack;

const LINES: &str = "1\n00:00:01,000 --> 00:00:02,500\nSchöne Grüße\n";

async fn file(api: &Api, name: &str) -> Result<File> {
    let files: Vec<File> = api.read("/api/files").await?;
    files.into_iter().find(|file| file.name == name).with_context(|| format!("{name} is not listed"))
}

/// Waits until the file has so many renditions of a kind.
async fn made(api: &Api, name: &str, kind: &str, count: usize) -> Result<File> {
    eventually(&format!("{count} {kind} of {name}"), || async {
        let file = file(api, name).await?;
        let found = file.renditions.iter().filter(|one| one.kind.starts_with(kind)).count();
        Ok((found == count).then_some(file))
    })
    .await
}

async fn text(api: &Api, path: &str) -> Result<String> {
    Ok(good(api.get(path).send().await?).await?.text().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn subtitles_beside_a_film_are_shown_with_it_as_long_as_they_are_beside_it() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let _worker = stack.worker("worker", 30)?;
    let film = stack.path("Film.mkv");
    media::film(&film, FRIENDLY)?;
    // The same text in an old encoding, and flags in the name.
    let latin: Vec<u8> = LINES.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect();
    fs::write(stack.path("film.de.srt"), latin)?;
    fs::write(stack.path("Film.en.forced.vtt"), "WEBVTT\n\n00:01.000 --> 00:02.000\nGood evening\n")?;
    fs::write(stack.path("notes.srt"), LINES)?;
    let names = ["film.de.srt", "Film.en.forced.vtt", "Film.mkv", "notes.srt"];
    run(stack.ctl()?.args(["upload", "--quiet", "--wait"]).args(names.map(|name| stack.path(name))))?;
    // Its own subtitle, and the two beside it.
    let film = made(&api, "Film.mkv", "subtitle-", 3).await?;
    let of = |language: &str| film.renditions.iter().find(|one| one.detail["language"] == language);
    let german = of("de").context("no German")?;
    ensure!(of("en").is_some_and(|english| english.detail["forced"] == true), "{:?}", film.renditions);

    let link = api.post(&format!("/api/files/{}/link?rendition=hls", film.file_id)).send().await?;
    let link: Link = data(good(link).await?).await?;
    let token = link.path.split_once('?').context("no token")?.1;
    let hls = format!("/api/files/{}/hls", film.file_id);
    let master = good(api.anonymous(&link.path).send().await?).await?.text().await?;
    ensure!(
        master.contains("NAME=\"German\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO"),
        "{master}"
    );
    ensure!(
        master.contains("NAME=\"English\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES"),
        "{master}"
    );
    let playlist = text(&api, &format!("{hls}/{}.m3u8", german.kind)).await?;
    ensure!(playlist.contains(&format!("{}.vtt", german.kind)), "{playlist}");
    let shown = api.anonymous(&format!("{hls}/{}.vtt?{token}", german.kind)).send().await?;
    let shown = good(shown).await?.text().await?;
    ensure!(shown.ends_with("00:00:01.000 --> 00:00:02.500\nSchöne Grüße\n"), "{shown}");
    let told = &file(&api, "film.de.srt").await?.summary;
    ensure!(told[0].starts_with("1 line of subtitles (SubRip) was converted to WebVTT"), "{told:?}");

    // Where one is moved to and what it is named decides, and its end is the end of its text.
    run(stack.ctl()?.args(["mv", "notes.srt", "Film.fr.srt"]))?;
    made(&api, "Film.mkv", "subtitle-", 4).await?;
    run(stack.ctl()?.args(["mv", "Film.en.forced.vtt", "other/"]))?;
    made(&api, "Film.mkv", "subtitle-", 3).await?;
    run(stack.ctl()?.args(["rm", "--yes", "--permanently", "film.de.srt"]))?;
    made(&api, "Film.mkv", "subtitle-", 2).await?;
    assert_eq!(api.get(&format!("{hls}/{}.vtt", german.kind)).send().await?.status(), 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_have_a_preview_or_the_reason_and_are_ready_at_once() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let photo = stack.path("photo.jpg");
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=1920x1080", "-frames:v", "1"])
        .arg(&photo))?;
    fs::write(stack.path("phone.heic"), [&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], &[0; 900]].concat())?;
    // A raw photo, of which nothing is made.
    fs::write(stack.path("raw.cr2"), [&b"II*\0\x10\0\0\0CR\x02\0"[..], &[0; 900]].concat())?;
    run(stack
        .ctl()?
        .args(["upload", "--quiet"])
        .args(["photo.jpg", "phone.heic", "raw.cr2"].map(|n| stack.path(n))))?;
    for name in ["photo.jpg", "phone.heic", "raw.cr2"] {
        assert_eq!(file(&api, name).await?.state, "ready", "{name}");
    }
    let _worker = stack.worker("worker", 30)?;
    let photo = made(&api, "photo.jpg", "poster", 1).await?;
    let poster = good(api.get(&format!("/api/files/{}/poster", photo.file_id)).send().await?).await?;
    assert_eq!(poster.headers()["content-type"], "image/jpeg");
    let original = good(api.get(&format!("/api/files/{}/content", photo.file_id)).send().await?).await?;
    assert_eq!(original.bytes().await?, fs::read(stack.path("photo.jpg"))?, "the picture itself is played");
    assert_eq!(photo.summary, ["The picture (JPEG, 1920x1080) has a preview of 1280x720."]);
    let told =
        eventually("the reason to be told", || async { Ok(file(&api, "phone.heic").await?.summary.pop()) })
            .await?;
    ensure!(told.starts_with("The picture has no preview: FFmpeg on this machine does not read"), "{told}");
    let raw = file(&api, "raw.cr2").await?;
    ensure!(raw.renditions.is_empty() && raw.summary.is_empty(), "{raw:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_what_was_done_with_a_film_and_what_was_left_out() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let _worker = stack.worker("worker", 30)?;
    let film = stack.path("film.mkv");
    media::film(&film, MODERN)?;
    let said = run(stack.ctl()?.args(["upload", "--wait"]).arg(&film))?;
    let expected = [
        "The picture (HEVC, 320x180) was converted to H.264 of 320x180, because not every browser plays HEVC.",
        "Streams have it in 180p.",
        "The sound (Opus mono) was converted to AAC in stereo.",
        "The subtitle (no language named) was kept as text.",
    ];
    let file = file(&api, "film.mkv").await?;
    assert_eq!(file.summary, expected);
    ensure!(file.warnings.is_empty(), "{:?}", file.warnings);
    let listed = run(stack.ctl()?.args(["ls", "-l"]))?;
    for sentence in expected {
        ensure!(said.contains(&format!("  {sentence}\n")), "{said}");
        ensure!(listed.contains(&format!("  {sentence}\n")), "{listed}");
    }

    // A film that ends in the middle.
    let bytes = fs::read(&film)?;
    fs::write(stack.path("half.mkv"), &bytes[..bytes.len() * 6 / 10])?;
    let said = run(stack.ctl()?.args(["upload", "--wait"]).arg(stack.path("half.mkv")))?;
    ensure!(said.contains("  The input ends early: "), "{said}");
    let listed = run(stack.ctl()?.arg("ls"))?;
    ensure!(
        listed.contains("half.mkv: the input ends early") || listed.contains("warnings; nebulactl ls -l"),
        "{listed}"
    );
    Ok(())
}
