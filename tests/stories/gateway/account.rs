//! Accounts and members through HTTP and nebulactl: roles count at once, and what is taken away is gone.

use anyhow::{Result, ensure};
use nebula_api::account::{Account, Member, Session};
use nebula_tests::api::{Api, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::stack::{PASSWORD, Stack};
use reqwest::StatusCode;
use serde_json::json;

/// Runs nebulactl as the administrator.
fn ctl(stack: &Stack, arguments: &[&str]) -> Result<String> {
    run(stack.ctl()?.args(arguments))
}

async fn status(api: &Api, path: &str) -> Result<StatusCode> {
    Ok(api.get(path).send().await?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_from_the_next_request_on() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    let members = format!("/api/projects/{}/members", stack.project);
    let enrolment = json!({ "projectId": stack.project });

    let refused = refusal(anna.post("/api/enrolments").json(&enrolment).send().await?).await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "{:?}", refused.failure);
    ensure!(refused.failure.detail.contains("needs the role admin"), "{:?}", refused.failure);

    ctl(&stack, &["account", "add", "anna", "--role", "admin"])?;
    good(anna.post("/api/enrolments").json(&enrolment).send().await?).await?;
    let refused =
        refusal(anna.put(&members).json(&json!({ "username": "anna", "role": "owner" })).send().await?)
            .await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "an administrator of a project made itself owner");

    ctl(&stack, &["account", "add", "anna", "--role", "viewer"])?;
    ensure!(status(&anna, "/api/files").await? == StatusCode::OK);
    let refused = anna.upload(stack.project, "a.txt", b"a".to_vec()).await?;
    ensure!(refused.status() == StatusCode::FORBIDDEN, "{}", refused.status());

    let listed: Vec<Member> = admin.read(&members).await?;
    ensure!(listed.len() == 1 && listed[0].role == "viewer", "{listed:?}");
    ctl(&stack, &["account", "remove", "anna"])?;
    let files: Vec<serde_json::Value> = anna.read("/api/projects").await?;
    ensure!(files.is_empty(), "{files:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_changed_disabled_and_deleted() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    ensure!(status(&anna, "/api/accounts").await? == StatusCode::FORBIDDEN);
    let accounts: Vec<Account> = admin.read("/api/accounts").await?;
    let names: Vec<_> = accounts.iter().map(|account| account.username.as_str()).collect();
    ensure!(names == ["admin", "anna"], "{names:?}");

    ctl(&stack, &["account", "role", "anna", "admin"])?;
    ensure!(status(&anna, "/api/accounts").await? == StatusCode::OK);
    ctl(&stack, &["account", "role", "anna", "member"])?;
    ensure!(status(&anna, "/api/accounts").await? == StatusCode::FORBIDDEN);

    ctl(&stack, &["account", "disable", "anna"])?;
    ensure!(Api::login(&stack.url(), "anna", PASSWORD).await.is_err(), "a disabled account signed in");
    let refused = anna.refresh(&anna.tokens.refresh_token).await?;
    ensure!(refused.status() == StatusCode::UNAUTHORIZED, "{}", refused.status());
    ctl(&stack, &["account", "enable", "anna"])?;
    Api::login(&stack.url(), "anna", PASSWORD).await?;

    let last = stack.ctl()?.args(["account", "disable", "admin"]).output()?;
    let said = String::from_utf8_lossy(&last.stderr);
    ensure!(!last.status.success() && said.contains("last administrator"), "{said}");
    let asked = stack.ctl()?.args(["account", "rm", "anna"]).output()?;
    ensure!(!asked.status.success(), "deleted without a question");
    ctl(&stack, &["account", "rm", "anna", "--yes"])?;
    ensure!(!ctl(&stack, &["account", "ls"])?.contains("anna"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_from_another_one() -> Result<()> {
    let stack = Stack::start().await?;
    let here = stack.member("anna").await?;
    let there = Api::login(&stack.url(), "anna", PASSWORD).await?;
    let sessions: Vec<Session> = here.read("/api/sessions").await?;
    ensure!(sessions.len() == 2 && sessions.iter().filter(|session| session.current).count() == 1);
    let other = sessions.iter().find(|session| !session.current).unwrap();
    let path = format!("/api/sessions/{}", other.session_id);
    let foreign = stack.member("eve").await?.delete(&path).send().await?;
    ensure!(foreign.status() == StatusCode::NOT_FOUND, "{}", foreign.status());
    good(here.delete(&path).send().await?).await?;
    let refused = there.refresh(&there.tokens.refresh_token).await?;
    ensure!(refused.status() == StatusCode::UNAUTHORIZED, "{}", refused.status());
    good(here.refresh(&here.tokens.refresh_token).await?).await?;

    Api::login(&stack.url(), "anna", PASSWORD).await?;
    let ended: i32 = nebula_tests::api::data(here.delete("/api/sessions").send().await?).await?;
    ensure!(ended == 1, "{ended}");
    ensure!(here.read::<Vec<Session>>("/api/sessions").await?.len() == 1);
    Ok(())
}
