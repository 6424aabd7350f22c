//! Personal tokens: programs act by one without signing in, within its scopes, until it ends.

use std::time::Duration;

use anyhow::{Context, Result};
use nebula_api::file::{File, Link};
use nebula_api::personal_token::{NewPersonalToken, PersonalToken};
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::timeout;

/// The same client, which acts by a personal token.
fn with(api: &Api, token: &str) -> Api {
    let mut program = api.clone();
    program.tokens.access_token = token.to_owned();
    program
}

async fn make(api: &Api, name: &str, scopes: &[&str]) -> Result<NewPersonalToken> {
    let answer =
        api.post("/api/account/tokens").json(&json!({"name": name, "scopes": scopes})).send().await?;
    assert_eq!(answer.headers().get("cache-control").context("no Cache-Control")?, "no-store");
    data(answer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_acts_within_its_scopes_and_everything_of_it_ends_with_its_token() -> Result<()> {
    let stack = Stack::start().await?;
    let member = stack.member("anna").await?;
    let made = make(&member, "backup", &["file.write"]).await?;
    assert!(made.token.starts_with("nebula_pat_"), "{}", made.token);
    let program = with(&member, &made.token);
    let big = vec![7; 48 * 1024 * 1024];
    let file: File = data(program.upload(stack.project, "a.bin", big).await?).await?;
    let identity: serde_json::Value = program.read("/api/auth/me").await?;
    assert_eq!(identity["username"], "anna");

    for (method, path, body) in [
        (program.post("/api/shares"), "/api/shares", json!({"fileId": file.file_id})),
        (
            program.post("/api/account/tokens"),
            "/api/account/tokens",
            json!({"name": "x", "scopes": ["admin"]}),
        ),
        (program.get("/api/sessions"), "/api/sessions", json!({})),
        (program.delete("/api/sessions"), "/api/sessions", json!({})),
        (program.get("/api/account/tokens"), "/api/account/tokens", json!({})),
    ] {
        let refused = refusal(method.json(&body).send().await?).await.context(path)?;
        assert_eq!(
            (refused.status, refused.failure.sqlstate.as_str()),
            (StatusCode::FORBIDDEN, "42501"),
            "{path}"
        );
    }

    // All that it has opened ends with it: a link, a download and a stream of events.
    let link: Link = data(program.post(&format!("/api/files/{}/link", file.file_id)).send().await?).await?;
    good(program.anonymous(&link.path).send().await?).await?;
    let mut events = good(program.get("/api/stream").send().await?).await?;
    events.chunk().await?.context("the first frame")?;
    let listed: Vec<PersonalToken> = member.read("/api/account/tokens").await?;
    assert!(listed[0].last_used_at.is_some(), "{listed:?}");
    good(member.delete(&format!("/api/account/tokens/{}", made.entry.token_id)).send().await?).await?;
    timeout(Duration::from_secs(10), async { while let Ok(Some(_)) = events.chunk().await {} })
        .await
        .context("the stream of events goes on")?;
    for path in ["/api/files", "/api/auth/me", "/api/stream"] {
        assert_eq!(
            refusal(program.get(path).send().await?).await?.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    assert_eq!(program.anonymous(&link.path).send().await?.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(program.upload(stack.project, "b.txt", vec![7]).await?.status(), StatusCode::UNAUTHORIZED);

    for wrong in [made.token.replace("pat", "pot"), format!("{}a", made.token), made.token[..40].to_owned()] {
        let refused = refusal(with(&member, &wrong).get("/api/files").send().await?).await?;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let log = std::fs::read_to_string(stack.log("gateway"))?;
    assert!(!log.contains(&made.token), "the token is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_makes_a_token_and_acts_by_it_without_a_session() -> Result<()> {
    let stack = Stack::start().await?;
    let token = run(stack.ctl()?.args(["token", "create", "ci", "--scope", "write", "--for", "7d"]))?;
    let token = token.trim();
    std::fs::write(stack.path("token"), format!("{token}\n"))?;
    std::fs::write(stack.path("b.txt"), "text")?;
    let program = || -> Result<_> {
        let mut command = stack.ctl()?;
        command.env("XDG_CONFIG_HOME", stack.path("nobody"));
        Ok(command)
    };
    run(program()?.env("NEBULA_TOKEN", token).arg("upload").arg(stack.path("b.txt")))?;
    let listed = run(program()?.arg("--token-file").arg(stack.path("token")).arg("ls"))?;
    assert!(listed.contains("b.txt"), "{listed}");
    let refused = program()?.env("NEBULA_TOKEN", token).args(["rule", "add", "inbound"]).output()?;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("network.write"), "{message}");
    let shown = run(stack.ctl()?.args(["token", "ls"]))?;
    assert!(shown.contains("ci") && !shown.contains(token), "{shown}");
    run(stack.ctl()?.args(["token", "rm", "ci"]))?;
    let ended = program()?.env("NEBULA_TOKEN", token).arg("ls").output()?;
    let message = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && message.contains("does not accept"), "{message}");
    Ok(())
}
