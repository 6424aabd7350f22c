//! Streams of a film while it is made: playlists, segments, and what comes first. The worker here is the test.

use anyhow::{Context, Result, ensure};
use nebula_api::file::{File, Link};
use nebula_tests::api::{Api, data, good};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

/// Four chunks of two segments, in two sizes, and one sound.
fn plan() -> Value {
    let chunk = |n: i32| json!({"n": n, "from": n * 8, "to": if n < 3 { Some(n * 8 + 8) } else { None }});
    json!({
        "duration": 32.0, "frameRate": 25.0, "web": "join", "picture": {"stream": 0}, "pictures": false,
        "variants": [{"name": "v480", "width": 854, "height": 480}, {"name": "v240", "width": 426, "height": 240}],
        "chunks": (0..4).map(chunk).collect::<Vec<_>>(),
        "sounds": [{"name": "a0", "stream": 1, "language": "ger", "channels": 2, "default": true}],
        "subtitles": [],
    })
}

struct Made<'a> {
    stack: &'a Stack,
    client: Client,
    content_id: Uuid,
}

impl Made<'_> {
    /// Claims the next job of a kind: its identifier, attempt and payload.
    async fn claim(&self, kind: &str) -> Result<(i64, i32, Value)> {
        let sql =
            "SELECT job_id, attempt, payload FROM nebula.claim_jobs('test', ARRAY[$1::text], 1, '1 minute')";
        let row = self.client.query_opt(sql, &[&kind]).await?.with_context(|| format!("no {kind} waits"))?;
        Ok((row.get(0), row.get(1), row.get(2)))
    }

    /// Stores and records a chunk of two segments.
    async fn add(&self, job: (i64, i32), variant: &str, n: i32, last: bool) -> Result<()> {
        let key = format!("files/{}/hls/{variant}-{n}.m4s", self.content_id);
        let path = self.stack.store().join(&key);
        std::fs::create_dir_all(path.parent().context("no folder")?)?;
        std::fs::write(&path, format!("{variant} {n} one|{variant} {n} second"))?;
        let first = format!("{variant} {n} one|").len();
        let size = path.metadata()?.len();
        let chunk = json!([{
            "variant": variant, "n": n, "storageKey": key, "size": size, "sha256": "ab".repeat(32),
            "startsAt": f64::from(n) * 8.0, "durations": [4.0, 4.0], "sizes": [first, size as usize - first],
            "init": "aW5pdA==", "codecs": if variant == "a0" { "mp4a.40.2" } else { "avc1.64001e" }, "last": last,
        }]);
        let sql = "SELECT nebula.add_chunks($1, $2, $3, $4)";
        self.client.execute(sql, &[&job.0, &job.1, &self.content_id, &chunk]).await?;
        Ok(())
    }

    async fn complete(&self, job: (i64, i32)) -> Result<()> {
        self.client.execute("SELECT nebula.complete_job($1, $2)", &[&job.0, &job.1]).await?;
        Ok(())
    }

    /// Makes the next chunk of the queue in both sizes; answers its number.
    async fn make_next(&self) -> Result<i32> {
        let (job, attempt, payload) = self.claim("transcode-chunk").await?;
        let n = payload["chunk"]["n"].as_i64().context("no number")? as i32;
        for variant in ["v480", "v240"] {
            self.add((job, attempt), variant, n, false).await?;
        }
        self.complete((job, attempt)).await?;
        Ok(n)
    }
}

async fn text(api: &Api, path: &str) -> Result<String> {
    Ok(good(api.get(path).send().await?).await?.text().await?)
}

/// Uploads a film and plans it as the worker does.
async fn planned<'a>(stack: &'a Stack, api: &Api) -> Result<(Made<'a>, File)> {
    // Two boxes are enough for the door.
    let bytes = [&[0, 0, 0, 12][..], b"ftypisom", &[0, 0, 0, 8], b"moov", &[0, 0, 0, 8], b"mdat"].concat();
    let file: File = data(good(api.upload(stack.project, "film.mp4", bytes).await?).await?).await?;
    let made = Made { stack, client: stack.database.connect().await?, content_id: file.file_id };
    let (job, attempt, payload) = made.claim("transcode").await?;
    assert_eq!(payload["contentId"], json!(file.file_id));
    let sql = "SELECT nebula.plan_renditions($1, $2, $3, $4)";
    made.client.execute(sql, &[&job, &attempt, &made.content_id, &plan()]).await?;
    made.complete((job, attempt)).await?;
    Ok((made, file))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_plays_from_its_first_chunk_on_and_is_made_first_where_somebody_seeks() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let (made, file) = planned(&stack, &api).await?;
    let hls = format!("/api/files/{}/hls", file.file_id);
    let status = async |path: &str| anyhow::Ok(api.get(&format!("{hls}/{path}")).send().await?.status());
    assert_eq!(status("master.m3u8").await?, StatusCode::NOT_FOUND, "nothing is made");

    assert_eq!(made.make_next().await?, 0, "the start of the film comes first");
    assert_eq!(
        status("master.m3u8").await?,
        StatusCode::NOT_FOUND,
        "a player would never look for the sound again"
    );
    let (job, attempt, _) = made.claim("transcode-audio").await?;
    made.add((job, attempt), "a0", 0, true).await?;
    made.complete((job, attempt)).await?;
    let master = text(&api, &format!("{hls}/master.m3u8")).await?;
    ensure!(master.contains("RESOLUTION=854x480") && master.contains("LANGUAGE=\"de\""), "{master}");
    let shown: File = api.read(&format!("/api/files/{}", file.file_id)).await?;
    ensure!(
        shown.state == "processing" && shown.progress.is_some_and(|p| (0.2..0.5).contains(&p)),
        "{shown:?}"
    );

    let seek = json!({"seconds": 25.0});
    let seek = good(api.post(&format!("{hls}/seek")).json(&seek).send().await?).await?;
    assert_eq!(data::<Value>(seek).await?["waiting"], 1, "the last chunk alone is from there on");
    assert_eq!(made.make_next().await?, 3);
    let media = text(&api, &format!("{hls}/v480.m3u8")).await?;
    ensure!(
        media.contains("EVENT") && media.matches("#EXTINF").count() == 2,
        "a gap ends a playlist: {media}"
    );
    assert_eq!((made.make_next().await?, made.make_next().await?), (1, 2));
    let media = text(&api, &format!("{hls}/v480.m3u8")).await?;
    ensure!(media.contains("VOD") && media.ends_with("ENDLIST\n"), "{media}");
    assert_eq!(media.matches("#EXTINF").count(), 8);
    assert_eq!(text(&api, &format!("{hls}/v480/init.mp4")).await?, "init");
    assert_eq!(text(&api, &format!("{hls}/v240/2-1.m4s")).await?, "v240 2 second");
    let part = api.get(&format!("{hls}/v240/2-1.m4s")).header("range", "bytes=-6").send().await?;
    assert_eq!((part.status(), part.text().await?), (StatusCode::PARTIAL_CONTENT, "second".to_owned()));
    for missing in ["v240/2-2.m4s", "v240/9-0.m4s", "v9/0-0.m4s", "v9/init.mp4", "v9.m3u8"] {
        assert_eq!(status(missing).await?, StatusCode::NOT_FOUND, "{missing}");
    }

    let (job, attempt, _) = made.claim("transcode-join").await?;
    let add = "SELECT nebula.add_rendition($1, $2, $3, 'web', 'files/x', 1, sha256('x'), 'video/mp4')";
    made.client.execute(add, &[&job, &attempt, &made.content_id]).await?;
    made.complete((job, attempt)).await?;
    assert_eq!(api.settled("film.mp4").await?.state, "ready");
    good(api.delete(&format!("/api/files/{}?permanently=true", file.file_id)).send().await?).await?;
    assert_eq!(stack.stored()?, Vec::<std::path::PathBuf>::new(), "the chunks go with the film");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_the_streams_opens_them_and_nothing_else() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let (made, file) = planned(&stack, &api).await?;
    let link = format!("/api/files/{}/link", file.file_id);
    let early = api.post(&format!("{link}?rendition=hls")).send().await?;
    assert_eq!(early.status(), StatusCode::NOT_FOUND);
    made.make_next().await?;
    let (job, attempt, _) = made.claim("transcode-audio").await?;
    made.add((job, attempt), "a0", 0, true).await?;

    let stream: Link = data(good(api.post(&format!("{link}?rendition=hls")).send().await?).await?).await?;
    let anonymous = async |path: &str| anyhow::Ok(api.anonymous(path).send().await?);
    let master = good(anonymous(&stream.path).await?).await?.text().await?;
    let folder = stream.path.split_once("master").context("no master")?.0;
    let media = master.lines().find(|line| line.starts_with("v480.m3u8?token=")).context(master.clone())?;
    let media = good(anonymous(&format!("{folder}{media}")).await?).await?.text().await?;
    let segment = media.lines().find(|line| line.contains("0-0.m4s?token=")).context(media.clone())?;
    assert_eq!(good(anonymous(&format!("{folder}{segment}")).await?).await?.text().await?, "v480 0 one|");

    let token = stream.path.split_once('?').context("no token")?.1;
    let content = format!("/api/files/{}/content", file.file_id);
    assert_eq!(anonymous(&format!("{content}?{token}")).await?.status(), StatusCode::UNAUTHORIZED);
    for other in ["original", "web"] {
        let refused = anonymous(&format!("{folder}{other}.vtt?{token}")).await?;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{other}: only what the playlist names");
    }
    let original: Link =
        data(good(api.post(&format!("{link}?rendition=original")).send().await?).await?).await?;
    let other = original.path.split_once('?').context("no token")?.1;
    assert_eq!(anonymous(&format!("{folder}master.m3u8?{other}")).await?.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(anonymous(&format!("{folder}master.m3u8")).await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}
