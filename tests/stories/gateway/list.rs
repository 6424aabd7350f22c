//! Lists come in pages that together are the list, with their total and counts by state, and not again while nothing
//! has changed.

use anyhow::{Context, Result, ensure};
use nebula_api::Page;
use nebula_api::device::{Device, RegisterRequest};
use nebula_api::job::Job;
use nebula_tests::api::{Api, refusal};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use uuid::Uuid;

async fn register(api: &Api, stack: &Stack, names: &[&str]) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    for (name, number) in names.iter().zip(1_u8..) {
        let device_id = Uuid::new_v4();
        api.register(&RegisterRequest {
            project_id: stack.project,
            device_id,
            device_name: (*name).into(),
            public_key: hex::encode([number; 32]),
            role: None,
            endpoints: vec![],
            enrolment_code: None,
        })
        .await?;
        ids.push(device_id);
    }
    Ok(ids)
}

/// The names on all pages of two devices, and the total that the first one says.
async fn walk(api: &Api, query: &str) -> Result<(Vec<String>, i64)> {
    let (mut names, mut cursor, mut total) = (Vec::new(), String::new(), None);
    loop {
        let path = format!("/api/devices?max=2&{query}{cursor}");
        let page: Page<Device> = api.get(&path).send().await?.error_for_status()?.json().await?;
        ensure!(page.data.len() <= 2 && page.total.is_some() == cursor.is_empty(), "{path}: {page:?}");
        total = total.or(page.total);
        names.extend(page.data.into_iter().map(|device| device.name));
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok((names, total.context("the first page says no total")?)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_devices_together_are_the_list_and_say_how_many_are_in_which_state() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let ids = register(&api, &stack, &["delta", "alpha", "Echo", "bravo", "charlie"]).await?;
    api.post(&format!("/api/nebula/release/{}", ids[1])).send().await?.error_for_status()?;
    let project = format!("projectId={}&", stack.project);
    for scope in ["", project.as_str()] {
        let (names, total) = walk(&api, scope).await?;
        let mut sorted = names.clone();
        sorted.sort_by_key(|name| name.to_lowercase());
        ensure!(total == 5 && names.len() == 5 && sorted == ["alpha", "bravo", "charlie", "delta", "Echo"]);
        let (turned, _) = walk(&api, &format!("{scope}sort=-name")).await?;
        ensure!(turned.iter().rev().eq(names.iter()), "{turned:?} {names:?}");
        let (registered, _) = walk(&api, &format!("{scope}sort=registered")).await?;
        ensure!(registered == ["delta", "alpha", "Echo", "bravo", "charlie"], "{registered:?}");
        let (found, total) = walk(&api, &format!("{scope}q=CH")).await?;
        ensure!(total == 2 && found.len() == 2, "{found:?}");
        let (released, total) = walk(&api, &format!("{scope}state=released")).await?;
        ensure!(total == 1 && released == ["alpha"], "{released:?}");
    }
    let whole: Page<Device> = api.get("/api/devices").send().await?.json().await?;
    ensure!(whole.data.len() == 5 && whole.total == Some(5) && whole.next.is_none(), "{whole:?}");
    let counts = whole.counts.context("no counts")?;
    ensure!(counts["active"] == 4 && counts["released"] == 1, "{counts:?}");
    let stranger = refusal(api.get("/api/devices?cursor=e30").send().await?).await?;
    ensure!(stranger.failure.field.as_deref() == Some("cursor"), "{stranger:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_are_counted_whatever_is_shown_of_them() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let enqueue = "SELECT nebula.enqueue_job('listed', '{}', project_id => $1) FROM generate_series(1, 150)";
    client.query(enqueue, &[&stack.project]).await?;
    let api = stack.admin().await?;
    let page: Page<Job> = api.get("/api/jobs?kind=listed").send().await?.error_for_status()?.json().await?;
    ensure!(page.data.len() == 100 && page.total == Some(150), "{:?} of {}", page.total, page.data.len());
    ensure!(page.counts.context("no counts")?["available"] == 150);
    let next = page.next.context("no second page")?;
    let path = format!("/api/jobs?kind=listed&cursor={next}");
    let rest: Page<Job> = api.get(&path).send().await?.error_for_status()?.json().await?;
    ensure!(rest.data.len() == 50 && rest.next.is_none() && rest.total.is_none());
    ensure!(rest.data.iter().all(|job| job.job_id < page.data[99].job_id));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_sent_again_only_when_it_has_changed() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let first = api.get("/api/devices").send().await?.error_for_status()?;
    let tag = first.headers().get("etag").context("no tag")?.clone();
    let again = || api.get("/api/devices").header("If-None-Match", tag.clone()).send();
    let unchanged = again().await?;
    ensure!(unchanged.status() == StatusCode::NOT_MODIFIED && unchanged.bytes().await?.is_empty());
    register(&api, &stack, &["new"]).await?;
    ensure!(again().await?.status() == StatusCode::OK, "the list has changed");
    let compressed = api.get("/openapi.json").header("Accept-Encoding", "gzip").send().await?;
    ensure!(compressed.headers().get("content-encoding").is_some_and(|coding| coding == "gzip"));
    let changed = api.post("/api/auth/login").json(&serde_json::json!({})).send().await?;
    ensure!(changed.headers().get("cache-control").is_some_and(|said| said == "no-store"));
    Ok(())
}
