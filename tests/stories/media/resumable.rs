//! Uploads that go on after an interruption: tus 1.0, step by step as its text has it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt, stream};
use nebula_api::file::File;
use nebula_tests::api::{Api, data, good};
use nebula_tests::binary::{root, run};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use reqwest::{Body, Method, RequestBuilder, Response};
use sha2::{Digest, Sha256};

const SIZE: usize = 5_000_000;

fn bytes() -> Vec<u8> {
    (0..SIZE).map(|index| (index / 251 + index) as u8).collect()
}

pub(super) fn tus(request: RequestBuilder) -> RequestBuilder {
    request.header("Tus-Resumable", "1.0.0")
}

pub(super) async fn create(api: &Api, stack: &Stack, name: &str, size: usize) -> Result<Response> {
    let [name, project] = [name, &stack.project.to_string()].map(|text| BASE64_STANDARD.encode(text));
    let metadata = format!("filename {name},projectId {project}");
    let request = tus(api.post("/api/uploads")).header("Upload-Length", size);
    Ok(request.header("Upload-Metadata", metadata).send().await?)
}

pub(super) fn header(response: &Response, name: &str) -> Result<String> {
    let value = response.headers().get(name).with_context(|| format!("no {name}: {response:?}"))?;
    Ok(value.to_str()?.to_owned())
}

pub(super) fn patch(api: &Api, path: &str, offset: usize) -> RequestBuilder {
    let request = tus(api.patch(path)).header("Upload-Offset", offset);
    request.header("Content-Type", "application/offset+octet-stream")
}

async fn offset(api: &Api, path: &str) -> Result<usize> {
    let head = good(tus(api.head(path)).send().await?).await?;
    assert_eq!(header(&head, "Cache-Control")?, "no-store");
    assert_eq!(header(&head, "Upload-Length")?, SIZE.to_string());
    Ok(header(&head, "Upload-Offset")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_lost_connections_and_killed_gateways() -> Result<()> {
    let mut stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = bytes();
    let begun = good(create(&api, &stack, "film.bin", SIZE).await?).await?;
    assert_eq!(begun.status(), 201);
    let path = header(&begun, "Location")?;
    ensure!(header(&begun, "Upload-Expires")?.ends_with("GMT"));
    assert_eq!(offset(&api, &path).await?, 0);
    let first = good(patch(&api, &path, 0).body(film[..1_000_000].to_vec()).send().await?).await?;
    assert_eq!((first.status().as_u16(), header(&first, "Upload-Offset")?.as_str()), (204, "1000000"));
    // The client loses the connection in the middle of a request.
    let broken = stream::iter([Ok(film[1_000_000..2_500_000].to_vec()), Err(std::io::Error::other("lost"))]);
    let request = patch(&api, &path, 1_000_000).header("Content-Length", SIZE - 1_000_000);
    ensure!(request.body(Body::wrap_stream(broken)).send().await.is_err());
    stack.kill_gateway()?;
    stack.start_gateway().await?;
    let api = stack.admin().await?;
    let at = offset(&api, &path).await?;
    ensure!((1_000_000..SIZE).contains(&at), "{at}");
    assert_eq!(patch(&api, &path, at + 1).body("x").send().await?.status(), 409);
    let last = good(patch(&api, &path, at).body(film[at..].to_vec()).send().await?).await?;
    assert_eq!(header(&last, "Upload-Offset")?, SIZE.to_string());
    let file: File = api.read(&header(&last, "Content-Location")?).await?;
    assert_eq!((file.name.as_str(), file.sha256), ("film.bin", hex::encode(Sha256::digest(&film))));
    // The answer may be lost too.
    assert_eq!(offset(&api, &path).await?, SIZE);
    let content = good(api.get(&format!("/api/files/{}/content", file.file_id)).send().await?).await?;
    ensure!(content.bytes().await? == film);
    let staging = stack.store().join(".staging/uploads");
    assert_eq!(staging.read_dir()?.count(), 1, "the bytes are in the store, and what is known of them stays");
    Ok(())
}

async fn with_name(api: &Api, stack: &Stack, name: &str, bytes: &'static [u8]) -> Result<Response> {
    let path = header(&good(create(api, stack, name, bytes.len()).await?).await?, "Location")?;
    good(patch(api, &path, 0).body(bytes).send().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_request_gives_way_to_the_one_that_goes_on() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = bytes();
    let path = header(&good(create(&api, &stack, "film.bin", SIZE).await?).await?, "Location")?;
    // Its client is out of reach: no byte, no end of the connection.
    let silent = stream::iter([Ok::<_, std::io::Error>(film[..1_000].to_vec())]).chain(stream::pending());
    let silent = patch(&api, &path, 0).header("Content-Length", SIZE).body(Body::wrap_stream(silent));
    let silent = tokio::spawn(silent.send());
    let mut at = 0;
    while at == 0 {
        at = match tus(api.head(&path)).send().await? {
            answer if answer.status() == 423 => 0,
            answer => header(&good(answer).await?, "Upload-Offset")?.parse()?,
        };
    }
    assert_eq!(at, 1_000);
    let last = good(patch(&api, &path, at).body(film[at..].to_vec()).send().await?).await?;
    assert_eq!(header(&last, "Upload-Offset")?, SIZE.to_string());
    silent.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_is_spoken_as_its_text_has_it() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = bytes();
    let asked = reqwest::Client::new().request(Method::OPTIONS, format!("{}/api/uploads", stack.url()));
    let asked = asked.send().await?;
    assert_eq!((asked.status().as_u16(), header(&asked, "Tus-Version")?.as_str()), (204, "1.0.0"));
    ensure!(header(&asked, "Tus-Extension")?.contains("termination"));
    let other = api.post("/api/uploads").header("Tus-Resumable", "0.2.2").send().await?;
    assert_eq!((other.status().as_u16(), header(&other, "Tus-Version")?.as_str()), (412, "1.0.0"));

    let path = header(&good(create(&api, &stack, "film.bin", SIZE).await?).await?, "Location")?;
    let wrong = tus(api.patch(&path)).header("Upload-Offset", 0).body("x").send().await?;
    assert_eq!(wrong.status(), 415);
    // Damaged bytes are taken back.
    let sum = |bytes: &[u8]| format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes)));
    let damaged = patch(&api, &path, 0).header("Upload-Checksum", sum(b"other")).body(film[..100].to_vec());
    assert_eq!(damaged.send().await?.status().as_u16(), 460);
    assert_eq!(offset(&api, &path).await?, 0);
    let whole = patch(&api, &path, 0).header("Upload-Checksum", sum(&film[..100])).body(film[..100].to_vec());
    assert_eq!(whole.send().await?.status(), 204);
    assert_eq!(patch(&api, &path, 100).body(vec![0; SIZE]).send().await?.status(), 413);
    assert_eq!(offset(&api, &path).await?, 100);

    // An upload belongs to the account that began it.
    let member = stack.member("member").await?;
    for request in [tus(member.head(&path)), tus(member.delete(&path)), patch(&member, &path, 100).body("x")]
    {
        assert_eq!(request.send().await?.status(), 404);
    }
    assert_eq!(tus(api.delete(&path)).send().await?.status(), 204);
    assert_eq!(tus(api.head(&path)).send().await?.status(), 404);

    // Other bytes of the same name and size are refused at the first of them.
    let first = with_name(&api, &stack, "taken.bin", b"one").await?;
    ensure!(header(&first, "Content-Location").is_ok());
    let second = create(&api, &stack, "taken.bin", 3).await?;
    ensure!(header(&second, "Nebula-Same-Name")?.starts_with("/api/files/"));
    let path = header(&second, "Location")?;
    assert_eq!(patch(&api, &path, 0).body("t").send().await?.status(), 409);

    // All bytes with the creation; then the name is taken.
    let path = format!("/api/uploads?projectId={}&name=notes.txt", stack.project);
    let with_bytes = |text: &'static str| {
        let request = tus(api.post(&path)).header("Upload-Length", text.len());
        request.header("Content-Type", "application/offset+octet-stream").body(text)
    };
    let made = with_bytes("some notes").send().await?;
    assert_eq!((made.status().as_u16(), header(&made, "Upload-Offset")?.as_str()), (201, "10"));
    let file: File = data(api.get(&header(&made, "Content-Location")?).send().await?).await?;
    assert_eq!(file.name, "notes.txt");
    assert_eq!(with_bytes("others").send().await?.status(), 409);
    assert_eq!(with_bytes("same bytes").send().await?.status(), 409);
    let again = with_bytes("some notes").send().await?;
    assert_eq!(header(&again, "Content-Location")?, format!("/api/files/{}", file.file_id));
    let staging = stack.store().join(".staging");
    let stored = stack.stored()?.into_iter().filter(|path| !path.starts_with(&staging)).count();
    assert_eq!(stored, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_elsewhere_finds_all_of_tus_and_the_draft() -> Result<()> {
    let stack = Stack::start().await?;
    let mut client = Command::new("npm");
    client.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "tus"]);
    client.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
    run(&mut client)?;
    let staging = stack.store().join(".staging/uploads").read_dir()?;
    let bytes =
        staging.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_none());
    assert_eq!(bytes.count(), 0, "parts that were joined are deleted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_draft_is_spoken_as_its_text_has_it() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let url = format!("/api/uploads?projectId={}", stack.project);
    let begin = |name: &str, complete: &str| {
        let disposition = format!("inline; filename=\"{name}\"");
        api.post(&url).header("Content-Disposition", disposition).header("Upload-Complete", complete)
    };
    let append = |path: &str, offset: usize, complete: &str| {
        let request = api.patch(path).header("Upload-Offset", offset).header("Upload-Complete", complete);
        request.header("Content-Type", "application/partial-upload")
    };
    let asked = reqwest::Client::new().request(Method::OPTIONS, format!("{}/api/uploads", stack.url()));
    ensure!(header(&asked.send().await?, "Upload-Limit")?.contains("max-age="));

    // Of unknown length, in parts.
    let begun = good(begin("parts.txt", "?0").body("one ").send().await?).await?;
    assert_eq!((begun.status().as_u16(), header(&begun, "Upload-Complete")?.as_str()), (201, "?0"));
    let path = header(&begun, "Location")?;
    let look = good(api.head(&path).send().await?).await?;
    assert_eq!(header(&look, "Upload-Offset")?, "4");
    assert_eq!(
        (header(&look, "Upload-Complete")?.as_str(), header(&look, "Cache-Control")?.as_str()),
        ("?0", "no-store")
    );
    ensure!(header(&look, "Upload-Length").is_err() && header(&look, "Upload-Limit")?.contains("max-age="));
    let wrong = append(&path, 3, "?0").body("two ").send().await?;
    assert_eq!((wrong.status().as_u16(), header(&wrong, "Upload-Offset")?.as_str()), (409, "4"));
    assert_eq!(header(&wrong, "Upload-Complete")?, "?0");
    let more = good(append(&path, 4, "?0").header("Upload-Length", 13).body("two ").send().await?).await?;
    assert_eq!((more.status().as_u16(), header(&more, "Upload-Complete")?.as_str()), (204, "?0"));
    let other = append(&path, 8, "?1").body("three and more").send().await?;
    assert_eq!(other.status(), 400, "lengths must agree");
    let last = good(append(&path, 8, "?1").body("three").send().await?).await?;
    assert_eq!((last.status().as_u16(), header(&last, "Upload-Complete")?.as_str()), (200, "?1"));
    let file: File = data(last).await?;
    assert_eq!((file.name.as_str(), file.size), ("parts.txt", 13));
    // The answer may be lost.
    let again: File = data(append(&path, 13, "?1").send().await?).await?;
    assert_eq!(again.file_id, file.file_id);

    // All at once; with a checksum that is not that of the bytes; under a name that is taken.
    let whole = good(begin("whole.txt", "?1").body("all of it").send().await?).await?;
    assert_eq!((whole.status().as_u16(), header(&whole, "Upload-Complete")?.as_str()), (201, "?1"));
    let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(b"other")));
    let damaged = begin("damaged.txt", "?1").header("Repr-Digest", digest).body("bytes").send().await?;
    assert_eq!((damaged.status().as_u16(), header(&damaged, "Upload-Complete")?.as_str()), (400, "?1"));
    let taken = begin("whole.txt", "?0").header("Upload-Length", 4).send().await?;
    assert_eq!(taken.status(), 409);
    let ended = good(begin("ended.txt", "?0").send().await?).await?;
    let path = header(&ended, "Location")?;
    assert_eq!(api.delete(&path).send().await?.status(), 204);
    assert_eq!(api.head(&path).send().await?.status(), 404);
    Ok(())
}
