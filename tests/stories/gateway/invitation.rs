//! Invitations through HTTP and nebulactl: a link makes one account, and guessing codes is limited.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_api::account::Member;
use nebula_api::invitation::{Invitation, JoinedProject, NewInvitation, OpenInvitation};
use nebula_api::project::Project;
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::{built, run};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

/// A POST of somebody without an account.
async fn post(stack: &Stack, path: &str, body: &Value) -> Result<Response> {
    Ok(Client::new().post(format!("{}/api/invitations/{path}", stack.url())).json(body).send().await?)
}

async fn accept(stack: &Stack, code: &str, name: &str) -> Result<Response> {
    post(stack, "accept", &json!({ "code": code, "username": name, "password": PASSWORD })).await
}

/// The code of a link.
fn code(url: &str) -> Result<String> {
    Ok(url.trim().split_once("/invite#").with_context(|| format!("{url} is no link"))?.1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_makes_one_account_with_the_password_of_its_choice() -> Result<()> {
    let stack = Stack::start().await?;
    let url = run(stack.ctl()?.args(["account", "invite", "--quiet", "--role", "viewer", "--note", "eve"]))?;
    let code = code(&url)?;
    ensure!(url.starts_with(&stack.url()), "{url}");
    let shown: OpenInvitation = data(post(&stack, "show", &json!({ "code": code })).await?).await?;
    ensure!(shown.project.is_some() && shown.role == "viewer" && shown.invited_by == ADMIN, "{shown:?}");

    let weak = json!({ "code": code, "username": "eve", "password": "short" });
    let refused = refusal(post(&stack, "accept", &weak).await?).await?;
    ensure!(refused.status == StatusCode::BAD_REQUEST, "{refused:?}");
    let taken = refusal(accept(&stack, &code, ADMIN).await?).await?;
    ensure!(taken.status == StatusCode::CONFLICT, "{taken:?}");
    good(accept(&stack, &code.to_lowercase(), "Eve").await?).await?;
    let eve = Api::login(&stack.url(), "eve", PASSWORD).await?;
    let projects: Vec<Project> = eve.read("/api/projects").await?;
    ensure!(projects.iter().map(|project| project.project_id).eq([stack.project]), "{projects:?}");
    ensure!(accept(&stack, &code, "mallory").await?.status() == StatusCode::NOT_FOUND, "a code counts twice");

    let list = run(stack.ctl()?.args(["account", "invitations"]))?;
    ensure!(list.contains("accepted") && list.contains("eve") && !list.contains(&code), "{list}");
    let log = std::fs::read_to_string(stack.log("gateway"))?;
    ensure!(!log.contains(&code), "the code is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_account_joins_with_it_and_an_invitation_is_taken_back() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    let path = format!("/api/projects/{}/invitations", stack.project);
    let body = json!({ "role": "admin" });
    let refused = refusal(anna.post(&path).json(&body).send().await?).await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "{refused:?}");
    let answer = good(admin.post(&path).json(&body).send().await?).await?;
    ensure!(answer.headers()["cache-control"] == "no-store");
    let made: NewInvitation = data(answer).await?;
    let code = json!({ "code": made.code });
    let joined: JoinedProject = data(anna.post("/api/invitations/join").json(&code).send().await?).await?;
    ensure!(joined.project_id == stack.project);
    let members: Vec<Member> = anna.read(&format!("/api/projects/{}/members", stack.project)).await?;
    ensure!(members.iter().any(|member| member.username == "anna" && member.role == "admin"), "{members:?}");

    // An administrator of the project invites members, and takes that back.
    let body = json!({ "role": "member", "lifetimeSeconds": 600 });
    let made: NewInvitation = data(anna.post(&path).json(&body).send().await?).await?;
    run(stack.ctl()?.args(["account", "uninvite", &made.invitation_id.to_string()]))?;
    ensure!(accept(&stack, &made.code, "eve").await?.status() == StatusCode::NOT_FOUND);
    let list: Vec<Invitation> = anna.read(&path).await?;
    let states: Vec<_> = list.iter().map(|invitation| invitation.state.as_str()).collect();
    ensure!(states == ["revoked", "accepted"], "{states:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_codes_has_to_wait() -> Result<()> {
    let stack = Stack::start().await?;
    for guess in 0..20 {
        let answer = accept(&stack, &format!("AAAAA-{guess}"), "eve").await?;
        ensure!(answer.status() == StatusCode::NOT_FOUND, "{}", answer.status());
    }
    let refused = refusal(accept(&stack, "AAAAA-20", "eve").await?).await?;
    ensure!(refused.status == StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_person_makes_an_operators_account_by_the_link_that_set_up_prints() -> Result<()> {
    let stack = Stack::start().await?;
    let first_run = || -> Result<String> {
        let mut gateway = Command::new(built("nebula-gateway")?);
        let gateway = gateway.args(["first-run", "--server", &stack.url()]);
        run(gateway.env("NEBULA_DATABASE_URL", stack.database.url()))
    };
    let (first, second) = (first_run()?, first_run()?);
    ensure!(
        accept(&stack, &code(&first)?, "olga").await?.status() == StatusCode::NOT_FOUND,
        "two links at a time"
    );
    good(accept(&stack, &code(&second)?, "olga").await?).await?;
    let olga = Api::login(&stack.url(), "olga", PASSWORD).await?;
    good(olga.get("/api/accounts").send().await?).await?;
    ensure!(first_run()?.trim().is_empty(), "the first run is over");
    Ok(())
}
