//! Uploads that have not ended: they count to quotas with the size that they will have, in a limited number, and leave
//! nothing behind.

use std::fs;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::stream;
use nebula_api::file::File;
use nebula_tests::api::{Api, good, refusal};
use nebula_tests::stack::Stack;
use reqwest::{Body, Response};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::quota::{check, set, used};
use super::resumable::{create, header, patch, tus};

const MB: usize = 1_000_000;

async fn part(api: &Api, project: Option<Uuid>, size: usize) -> Result<Response> {
    let request =
        tus(api.post("/api/uploads")).header("Upload-Concat", "partial").header("Upload-Length", size);
    let metadata =
        project.map(|project| format!("projectId {}", BASE64_STANDARD.encode(project.to_string())));
    let request = metadata.into_iter().fold(request, |request, text| request.header("Upload-Metadata", text));
    Ok(request.send().await?)
}

async fn join(api: &Api, stack: &Stack, name: &str, parts: &[String]) -> Result<Response> {
    let path = format!("/api/uploads?projectId={}&name={name}", stack.project);
    let parts = format!("final;{}", parts.join(" "));
    Ok(tus(api.post(&path)).header("Upload-Concat", parts).send().await?)
}

/// Bytes of unfinished uploads in the staging folder.
fn unfinished(stack: &Stack) -> Result<usize> {
    let entries = stack.store().join(".staging/uploads").read_dir()?;
    Ok(entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_none())).count())
}

async fn refused(answer: Response, status: u16) -> Result<String> {
    let refusal = refusal(answer).await?;
    assert_eq!(
        (refusal.status.as_u16(), refusal.failure.error.as_str()),
        (status, "quota_exceeded"),
        "{refusal:?}"
    );
    Ok(refusal.failure.detail)
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_and_parts_count_before_their_bytes_travel_and_parts_end_with_their_file()
-> Result<()> {
    let mut stack = Stack::start().await?;
    let api = stack.admin().await?;
    set(&api, "project", "story", Some(MB)).await?;
    let first = header(&good(create(&api, &stack, "first.bin", 600_000).await?).await?, "Location")?;
    assert_eq!(used(&api, "project", "story").await?, 600_000);
    let detail = refused(create(&api, &stack, "second.bin", 600_000).await?, 507).await?;
    ensure!(detail.contains("of them by unfinished uploads"), "{detail}");
    refused(api.upload(stack.project, "third.bin", vec![3; 600_000]).await?, 507).await?;
    refused(part(&api, Some(stack.project), 600_000).await?, 507).await?;
    refused(part(&api, None, 600_000).await?, 507).await?;
    refused(part(&api, None, 2 * MB).await?, 413).await?;
    // Every gateway knows, also one that has been started again.
    stack.kill_gateway()?;
    stack.start_gateway().await?;
    let api = stack.admin().await?;
    refused(create(&api, &stack, "second.bin", 600_000).await?, 507).await?;
    good(tus(api.delete(&first)).send().await?).await?;
    assert_eq!(used(&api, "project", "story").await?, 0);

    let mut parts = Vec::new();
    for (n, project) in [Some(stack.project), None, None].into_iter().enumerate() {
        let path = header(&good(part(&api, project, 300_000).await?).await?, "Location")?;
        good(patch(&api, &path, 0).body(vec![n as u8 + 1; 300_000]).send().await?).await?;
        parts.push(path);
    }
    assert_eq!(used(&api, "account", "admin").await?, 900_000);
    refused(part(&api, None, 200_000).await?, 507).await?;
    // The file takes the place of its parts, so that it fits.
    let joined = good(join(&api, &stack, "joined.bin", &parts).await?).await?;
    let file: File = api.read(&header(&joined, "Content-Location")?).await?;
    assert_eq!((file.size, used(&api, "project", "story").await?), (900_000, 900_000));
    let left = stack.database.connect().await?.query("SELECT FROM nebula.upload", &[]).await?;
    assert_eq!((left.len(), unfinished(&stack)?), (0, 0));
    check(&stack.database.connect().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_unknown_size_what_has_arrived_counts_and_room_is_what_is_left() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    set(&api, "project", "story", Some(MB)).await?;
    let path = format!("/api/uploads?projectId={}&name=a.bin", stack.project);
    let begun = tus(api.post(&path)).header("Upload-Defer-Length", "1").send().await?;
    let upload = header(&good(begun).await?, "Location")?;
    assert_eq!(used(&api, "project", "story").await?, 0);
    good(patch(&api, &upload, 0).body(vec![1; 400_000]).send().await?).await?;
    assert_eq!(used(&api, "project", "story").await?, 400_000);
    let other = header(&good(create(&api, &stack, "b.bin", 500_000).await?).await?, "Location")?;
    refused(patch(&api, &upload, 400_000).body(vec![1; 200_000]).send().await?, 507).await?;
    assert_eq!(used(&api, "project", "story").await?, 900_000, "a refusal changes nothing");
    good(tus(api.delete(&other)).send().await?).await?;
    let last = patch(&api, &upload, 400_000).header("Upload-Length", 600_000).body(vec![1; 200_000]);
    ensure!(header(&good(last.send().await?).await?, "Content-Location").is_ok());
    assert_eq!(used(&api, "project", "story").await?, 600_000);
    let path = format!("/api/uploads?projectId={}&name=c.bin", stack.project);
    let begun = tus(api.post(&path)).header("Upload-Defer-Length", "1").send().await?;
    let upload = header(&good(begun).await?, "Location")?;
    let chunks = stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(vec![2; 100_000])));
    refused(patch(&api, &upload, 0).body(Body::wrap_stream(chunks)).send().await?, 507).await?;
    ensure!(used(&api, "project", "story").await? <= MB as i64);
    check(&stack.database.connect().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_unfinished_uploads_and_those_go_on() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let client = stack.database.connect().await?;
    let path = header(&good(create(&api, &stack, "a.bin", 3).await?).await?, "Location")?;
    let fill = "INSERT INTO nebula.upload (upload_id, project_id, account_id, size, expires_at)
        SELECT gen_random_uuid(), project_id, account_id, 0, now() + interval '1 hour'
          FROM nebula.upload, generate_series(2, nebula.row_limit('uploads'))";
    client.execute(fill, &[]).await?;
    let detail = refused(create(&api, &stack, "b.bin", 3).await?, 507).await?;
    ensure!(detail.contains("1000 unfinished uploads"), "{detail}");
    good(create(&stack.member("ben").await?, &stack, "b.bin", 3).await?).await?;
    good(patch(&api, &path, 0).body("abc").send().await?).await?;
    client.execute("UPDATE nebula.upload SET expires_at = now()", &[]).await?;
    good(create(&api, &stack, "c.bin", 3).await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_there_need_no_room_but_in_one_upload_at_a_time() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let bytes = vec![7; 600_000];
    good(api.upload(stack.project, "a.bin", bytes.clone()).await?).await?;
    set(&api, "project", "story", Some(700_000)).await?;
    let announced = |name: &str, size: usize| {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let path = format!("/api/uploads?projectId={}&name={name}&sha256={sha256}", stack.project);
        tus(api.post(&path)).header("Upload-Length", size).send()
    };
    refused(announced("b.bin", 600_001).await?, 507).await?;
    let path = header(&good(announced("b.bin", 600_000).await?).await?, "Location")?;
    refused(announced("c.bin", 600_000).await?, 507).await?;
    good(patch(&api, &path, 0).body(bytes.clone()).send().await?).await?;
    assert_eq!(used(&api, "project", "story").await?, 600_000);
    good(announced("c.bin", 600_000).await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_nothing_and_a_join_its_parts() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let path = header(&good(part(&api, Some(stack.project), 9).await?).await?, "Location")?;
    good(patch(&api, &path, 0).body("some text").send().await?).await?;
    // A creation whose bytes are refused has no URL.
    let path_of_damaged = format!("/api/uploads?projectId={}&name=b.txt", stack.project);
    let checksum = format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(b"other")));
    let damaged =
        tus(api.post(&path_of_damaged)).header("Upload-Length", 9).header("Upload-Checksum", checksum);
    let damaged = damaged.header("Content-Type", "application/offset+octet-stream").body("some text");
    assert_eq!((damaged.send().await?.status().as_u16(), unfinished(&stack)?), (460, 1));

    // Nothing can be stored in a file where the folder of files should be.
    let folder = stack.store().join("files");
    let aside = stack.store().join("aside");
    let had = folder.exists();
    if had {
        fs::rename(&folder, &aside)?;
    }
    fs::write(&folder, "")?;
    let failed = join(&api, &stack, "a.txt", std::slice::from_ref(&path)).await?;
    ensure!(failed.status().is_server_error(), "{failed:?}");
    assert_eq!(unfinished(&stack)?, 1, "the part alone");
    let counted = stack.database.connect().await?;
    let counted: i64 = counted.query_one("SELECT count(*) FROM nebula.upload", &[]).await?.get(0);
    assert_eq!(counted, 1);
    fs::remove_file(&folder)?;
    if had {
        fs::rename(&aside, &folder)?;
    }
    let joined = good(join(&api, &stack, "a.txt", &[path]).await?).await?;
    let id = header(&joined, "Content-Location")?;
    let content = good(api.get(&format!("{id}/content")).send().await?).await?;
    ensure!(content.text().await.context("the file has no text")? == "some text");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_is_uploaded_again_although_the_quota_is_used_up() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    good(api.upload(stack.project, "a.bin", vec![7; 600_000]).await?).await?;
    set(&api, "project", "story", Some(600_000)).await?;
    let path = header(&good(create(&api, &stack, "a.bin", 600_000).await?).await?, "Location")?;
    let again = good(patch(&api, &path, 0).body(vec![7; 600_000]).send().await?).await?;
    assert_eq!(header(&again, "Nebula-Duplicate")?, "file");
    Ok(())
}
