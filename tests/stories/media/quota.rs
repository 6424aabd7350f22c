//! Quotas of projects and accounts: what counts, and that what does not fit is refused before it travels.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::stream;
use nebula_api::file::File;
use nebula_api::project::Project;
use nebula_api::quota::Quota;
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use reqwest::{Body, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

const MB: usize = 1_000_000;

fn film(fill: u8) -> Vec<u8> {
    // Two boxes are enough for the door.
    let head = [&[0, 0, 0, 12][..], b"ftypisom", &[0, 0, 0, 8], b"moov", &[0, 0, 0, 8], b"mdat"].concat();
    [head, vec![fill; 400_000]].concat()
}

async fn quota(api: &Api, subject: &str, name: &str) -> Result<Quota> {
    let all: Vec<Quota> = api.read("/api/quotas").await?;
    let found = all.into_iter().find(|quota| quota.subject == subject && quota.name == name);
    found.with_context(|| format!("{subject} {name} is not listed"))
}

pub(super) async fn used(api: &Api, subject: &str, name: &str) -> Result<i64> {
    Ok(quota(api, subject, name).await?.used_bytes)
}

pub(super) async fn set(api: &Api, subject: &str, name: &str, max: Option<usize>) -> Result<()> {
    let path = format!("/api/quotas/{subject}/{}", quota(api, subject, name).await?.id);
    good(api.put(&path).json(&json!({"maxBytes": max})).send().await?).await.map(drop)
}

pub(super) async fn check(client: &Client) -> Result<()> {
    let wrong = client.query("SELECT to_jsonb(c)::text FROM nebula.check_storage() c", &[]).await?;
    ensure!(wrong.is_empty(), "{}", wrong[0].get::<_, String>(0));
    Ok(())
}

/// The answer to the head of a request with 600 000 bytes that asks before it sends them, as curl does. They are never
/// sent, so that an answer proves that they were not needed.
fn asked_first(stack: &Stack, api: &Api, request: &str, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(stack.url().trim_start_matches("http://"))?;
    let token = &api.tokens.access_token;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}\
         Content-Length: 600000\r\nExpect: 100-continue\r\n\r\n",
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

async fn begin(api: &Api, stack: &Stack, size: usize) -> Result<Response> {
    let project = BASE64_STANDARD.encode(stack.project.to_string());
    let metadata = format!("filename {},projectId {project}", BASE64_STANDARD.encode("tus.bin"));
    let request = api.post("/api/uploads").header("Tus-Resumable", "1.0.0").header("Upload-Length", size);
    Ok(request.header("Upload-Metadata", metadata).send().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_a_quota_is_refused_before_its_bytes_travel() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    set(&api, "project", "story", Some(MB)).await?;
    good(api.upload(stack.project, "a.bin", vec![1; 600_000]).await?).await?;

    let file = format!("projectId={}&name=b.bin", stack.project);
    let answer = asked_first(&stack, &api, &format!("POST /api/files?{file}"), "")?;
    ensure!(answer.starts_with("HTTP/1.1 507") && answer.contains("quota_exceeded"), "{answer}");
    ensure!(
        answer.contains(r#"the quota of project \"story\" is"#) && answer.contains("Delete files"),
        "{answer}"
    );

    let created = asked_first(
        &stack,
        &api,
        &format!("POST /api/uploads?{file}"),
        "Tus-Resumable: 1.0.0\r\nUpload-Length: 600000\r\nContent-Type: application/offset+octet-stream\r\n",
    )?;
    ensure!(created.starts_with("HTTP/1.1 507") && created.contains("tus-resumable: 1.0.0"), "{created}");
    let unknown = api.post(&format!("/api/uploads?{file}")).header("Tus-Resumable", "1.0.0");
    let unknown = good(unknown.header("Upload-Defer-Length", "1").send().await?).await?;
    let path = unknown.headers()["Location"].to_str()?;
    let headers =
        "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n";
    let appended = asked_first(&stack, &api, &format!("PATCH {path}"), headers)?;
    ensure!(appended.starts_with("HTTP/1.1 507") && appended.contains("quota_exceeded"), "{appended}");

    let tus = refusal(begin(&api, &stack, 600_000).await?).await?;
    assert_eq!((tus.status.as_u16(), tus.failure.sqlstate.as_str()), (507, "53Q00"));
    let alone = refusal(begin(&api, &stack, 2 * MB).await?).await?;
    assert_eq!((alone.status.as_u16(), alone.failure.error.as_str()), (413, "quota_exceeded"));
    assert_eq!(begin(&api, &stack, 400_000).await?.status(), 201, "exactly what is left");

    // Of an unknown length: refused on the way, long before all of it has come.
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let chunks = (0..1000).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![7; 100_000])
    });
    let path = format!("/api/files?projectId={}&name=c.bin", stack.project);
    let endless = api.post(&path).body(Body::wrap_stream(stream::iter(chunks))).send().await?;
    assert_eq!(refusal(endless).await?.status.as_u16(), 507);
    ensure!(asked.load(Ordering::Relaxed) < 500, "{asked:?} of 1000 chunks were sent");

    set(&api, "project", "story", None).await?;
    good(api.upload(stack.project, "b.bin", vec![2; 600_000]).await?).await?;
    check(&stack.database.connect().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_uploads_that_fit_alone_do_not_both_pass() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    set(&api, "project", "story", Some(MB)).await?;
    let send = |name: &'static str, fill| {
        let (api, project) = (api.clone(), stack.project);
        async move { anyhow::Ok(api.upload(project, name, vec![fill; 300_000]).await?.status().as_u16()) }
    };
    let sent = futures::future::try_join_all(
        (0..8).map(|n| send(["a", "b", "c", "d", "e", "f", "g", "h"][n], n as u8)),
    );
    let mut statuses = sent.await?;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 507, 507, 507, 507, 507]);
    assert_eq!(used(&api, "project", "story").await?, 900_000);
    assert_eq!(stack.stored()?.len(), 3, "refused bytes are deleted");

    // In the moment between the two, step by step: the second waits for the end of the first.
    let (mut first, second) = (stack.database.connect().await?, stack.database.connect().await?);
    let actor: Uuid = first.query_one("SELECT account_id FROM nebula.account", &[]).await?.get(0);
    let project = stack.project;
    let store =
        "SELECT nebula.take_content($1, u, $3, 'x', 80000, sha256(u::text::bytea), 'x/x', u::text, false)
                   FROM (SELECT $2::uuid) AS t(u)";
    let transaction = first.transaction().await?;
    transaction.execute(store, &[&actor, &Uuid::new_v4(), &project]).await?;
    let pid: i32 = second.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let storing =
        tokio::spawn(async move { second.execute(store, &[&actor, &Uuid::new_v4(), &project]).await });
    let watcher = stack.database.connect().await?;
    let waits = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
    eventually("the second upload to wait", || async { Ok(watcher.query_opt(waits, &[&pid]).await?) })
        .await?;
    transaction.commit().await?;
    let refused = storing.await?.err();
    assert_eq!(refused.as_ref().and_then(|error| error.code()).map(SqlState::code), Some("53Q00"));
    check(&watcher).await
}

#[tokio::test(flavor = "multi_thread")]
async fn renditions_count_and_bytes_of_several_files_count_once() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let ben = stack.member("ben").await?;
    let client = stack.database.connect().await?;
    let size = film(1).len() as i64;
    let first: File = data(good(ben.upload(stack.project, "ben.mp4", film(1)).await?).await?).await?;
    set(&api, "project", "story", Some(film(1).len() + 1_000)).await?;
    // That they are the same, the gateway learns by their checksum before they travel.
    let path = format!("/api/files?projectId={}&name=again.mp4&sha256=", stack.project);
    let again = api.post(&(path + &hex::encode(Sha256::digest(film(1))))).body(film(1)).send().await?;
    let second: File = data(good(again).await?).await?;
    assert_eq!(used(&api, "project", "story").await?, size, "the same bytes cost nothing");
    assert_eq!((used(&api, "account", "ben").await?, used(&api, "account", "admin").await?), (size, 0));

    // The worker is the test.
    let claim = "SELECT job_id, attempt FROM nebula.claim_jobs('test', '{transcode}')";
    let job = client.query_one(claim, &[]).await?;
    let (job, attempt): (i64, i32) = (job.get(0), job.get(1));
    let add = "SELECT nebula.add_rendition($1, $2, $3, $4, $5, $6, sha256('x'), 'video/mp4')";
    for (kind, key, bytes) in [("web", "x", 5_000_i64), ("poster", "y", 70), ("web", "z", 9_000)] {
        client.execute(add, &[&job, &attempt, &first.file_id, &kind, &key, &bytes]).await?;
    }
    let plan = json!({"variants": [{"name": "v480", "width": 854, "height": 480}], "chunks": [{"n": 0, "from": 0}],
        "sounds": [], "subtitles": [], "web": "made"});
    client
        .execute("SELECT nebula.plan_renditions($1, $2, $3, $4)", &[&job, &attempt, &first.file_id, &plan])
        .await?;
    let chunk = json!([{"variant": "v480", "n": 0, "storageKey": "c", "size": 300, "sha256": "ab".repeat(32),
        "startsAt": 0, "durations": [4.0], "sizes": [300], "init": "aW5pdA==", "codecs": "avc1.64001e"}]);
    client
        .execute("SELECT nebula.add_chunks($1, $2, $3, $4)", &[&job, &attempt, &first.file_id, &chunk])
        .await?;
    let made = size + 9_000 + 70 + 300;
    let shown: Vec<Project> = ben.read("/api/projects").await?;
    assert_eq!((shown[0].used_bytes, shown[0].max_bytes), (made, Some(size + 1_000)));
    let refused = refusal(api.upload(stack.project, "small.txt", b"x".to_vec()).await?).await?;
    assert_eq!(refused.status.as_u16(), 507, "what was made is above the quota, and stays");

    // The bytes count to the account that still has a file of them.
    good(ben.delete(&format!("/api/files/{}?permanently=true", first.file_id)).send().await?).await?;
    assert_eq!((used(&api, "account", "ben").await?, used(&api, "account", "admin").await?), (0, made));
    check(&client).await?;
    good(api.delete(&format!("/api/files/{}?permanently=true", second.file_id)).send().await?).await?;
    assert_eq!((used(&api, "project", "story").await?, used(&api, "account", "admin").await?), (0, 0));
    check(&client).await?;

    client.execute("UPDATE nebula.storage_use SET bytes = bytes + 5", &[]).await?;
    ensure!(check(&client).await.is_err(), "a wrong count is found");
    client.execute("SELECT nebula.check_storage(repair => true)", &[]).await?;
    check(&client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_an_account_holds_in_all_projects_and_administrators_set_it() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let ben = stack.member("ben").await?;
    let client = stack.database.connect().await?;
    let other: Uuid = client.query_one("SELECT nebula.create_project('other')", &[]).await?.get(0);
    client.execute("SELECT nebula.add_member($1, 'ben')", &[&other]).await?;
    run(stack.ctl()?.args(["quota", "set", "--account", "ben", "1MiB"]))?;
    let listed = run(stack.ctl()?.args(["quota", "ls"]))?;
    ensure!(listed.contains("ben") && listed.contains("1.0 MiB"), "{listed}");
    good(ben.upload(stack.project, "a.bin", vec![1; 600_000]).await?).await?;
    let refused = refusal(ben.upload(other, "b.bin", vec![2; 600_000]).await?).await?;
    ensure!(refused.failure.detail.contains("account \"ben\""), "{refused:?}");
    good(api.upload(other, "b.bin", vec![2; 600_000]).await?).await?;
    let own: Vec<Quota> = ben.read("/api/quotas").await?;
    let names: Vec<_> = own.iter().map(|quota| (quota.subject.as_str(), quota.name.as_str())).collect();
    assert_eq!(
        names,
        [("project", "other"), ("project", "story"), ("account", "ben")],
        "not the administrator"
    );
    let path = format!("/api/quotas/account/{}", quota(&ben, "account", "ben").await?.id);
    let raise = ben.put(&path).json(&json!({"maxBytes": null})).send().await?;
    assert_eq!(refusal(raise).await?.status.as_u16(), 403);
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    client.execute("DELETE FROM nebula.account WHERE username = 'ben'", &[]).await?;
    check(&client).await
}
