//! Ending means ended: a session that was ended, or an account that was disabled, is refused at once, also on what is open.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nebula_api::file::{File, Link};
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::stack::Stack;
use reqwest::{Response, StatusCode};
use serde_json::json;

/// Longer than the second that it may take, shorter than what else would end a stream.
const SOON: Duration = Duration::from_secs(10);

/// Routes that ask the database, some of which answered empty lists.
const ROUTES: [&str; 12] = [
    "/api/auth/me",
    "/api/projects",
    "/api/pools",
    "/api/devices",
    "/api/certificates",
    "/api/peers",
    "/api/files",
    "/api/jobs",
    "/api/events",
    "/api/firewall",
    "/api/shares",
    "/api/stream",
];

async fn logout(api: &Api) -> Result<()> {
    let body = json!({"refreshToken": api.tokens.refresh_token});
    good(api.post("/api/auth/logout").json(&body).send().await?).await.map(drop)
}

async fn assert_refused_everywhere(api: &Api) -> Result<()> {
    for route in ROUTES {
        let refused = refusal(api.get(route).send().await?).await.context(route)?;
        assert_eq!(
            (refused.status, refused.failure.sqlstate.as_str()),
            (StatusCode::UNAUTHORIZED, "28000"),
            "{route}"
        );
        assert!(refused.failure.hint.is_some(), "{route}");
    }
    Ok(())
}

/// Waits for the end of a response, which must come soon.
async fn ends(mut response: Response) -> Result<u64> {
    let (begun, mut read) = (Instant::now(), 0);
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while begun.elapsed() < SOON {
        tokio::select! {
            chunk = response.chunk() => match chunk {
                Ok(Some(chunk)) => read += chunk.len() as u64,
                Ok(None) | Err(_) => return Ok(read),
            },
            () = tokio::time::sleep(SOON) => break,
        }
        // A client that reads slowly, so that most of a file is still to come.
        pace.tick().await;
    }
    anyhow::bail!("the response goes on after {SOON:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_and_its_links_end_with_the_session_and_the_account() -> Result<()> {
    let stack = Stack::start().await?;
    let member = stack.member("anna").await?;
    let file: File = data(member.upload(stack.project, "a.txt", b"text".to_vec()).await?).await?;
    let link: Link = data(member.post(&format!("/api/files/{}/link", file.file_id)).send().await?).await?;
    for route in &ROUTES[..ROUTES.len() - 1] {
        good(member.get(route).send().await?).await.context(*route)?;
    }
    good(member.anonymous(&link.path).send().await?).await?;

    let other = Api::login(&stack.url(), "anna", nebula_tests::stack::PASSWORD).await?;
    logout(&member).await?;
    assert_refused_everywhere(&member).await?;
    assert_eq!(member.anonymous(&link.path).send().await?.status(), StatusCode::UNAUTHORIZED);

    good(other.get("/api/projects").send().await?).await?;
    let admin = stack.database.connect().await?;
    admin.execute("UPDATE nebula.account SET disabled_at = now() WHERE username = 'anna'", &[]).await?;
    assert_refused_everywhere(&other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_downloads_end_with_the_session_and_the_membership() -> Result<()> {
    let stack = Stack::start().await?;
    let size = 48 * 1024 * 1024;
    let file: File =
        data(stack.admin().await?.upload(stack.project, "big.bin", vec![7; size]).await?).await?;
    let path = format!("/api/files/{}/content", file.file_id);

    let member = stack.member("anna").await?;
    let mut events = good(member.get("/api/stream").send().await?).await?;
    events.chunk().await?.context("the first frame")?;
    let download = good(member.get(&path).send().await?).await?;
    logout(&member).await?;
    ends(events).await?;
    assert!(ends(download).await? < size as u64, "the whole file came");

    let member = stack.member("ben").await?;
    let download = good(member.get(&path).send().await?).await?;
    let admin = stack.database.connect().await?;
    admin.execute("SELECT nebula.remove_member($1, 'ben')", &[&stack.project]).await?;
    assert!(ends(download).await? < size as u64, "the whole file came");
    Ok(())
}
