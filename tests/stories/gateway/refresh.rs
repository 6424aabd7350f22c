//! Refresh tokens in the hands of two clients: one goes on at most, and each is told why it has to sign in again.

use anyhow::{Result, ensure};
use nebula_api::auth::TokenPair;
use nebula_tests::api::{Api, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::stack::{PASSWORD, Stack, secret};
use reqwest::StatusCode;
use serde_json::json;

/// The reason of a 401.
async fn reason(answer: reqwest::Response) -> Result<String> {
    let refused = refusal(answer).await?;
    ensure!(refused.status == StatusCode::UNAUTHORIZED, "{refused:?}");
    Ok(refused.failure.reason.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clients_that_refresh_at_once_one_goes_on_at_most() -> Result<()> {
    let stack = Stack::start().await?;
    let mine = stack.member("anna").await?;
    let token = &mine.tokens.refresh_token;
    let (one, other) = tokio::join!(mine.refresh_with(token, "mine"), mine.refresh_with(token, "thief"));
    let (one, other) = (one?, other?);
    let winners = [&one, &other].iter().filter(|answer| answer.status().is_success()).count();
    ensure!(winners == 1, "{} {}", one.status(), other.status());
    let (winner, loser) = if one.status().is_success() { (one, other) } else { (other, one) };
    ensure!(reason(loser).await? == "reused");
    // The family is ended, so the winner's access token is refused at once, too.
    let won: TokenPair = winner.json().await?;
    ensure!(reason(mine.refresh_with(&won.refresh_token, "mine").await?).await? == "reused");
    ensure!(reason(mine.get("/api/projects").send().await?).await? == "ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_answer_was_lost_repeats_the_exchange() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.member("anna").await?;
    let first = &api.tokens.refresh_token;
    let lost: TokenPair = good(api.refresh_with(first, "key").await?).await?.json().await?;
    let again: TokenPair = good(api.refresh_with(first, "key").await?).await?.json().await?;
    let next = good(api.refresh_with(&again.refresh_token, "next").await?).await?;
    next.json::<TokenPair>().await?;
    // A client that has the answer which was lost is another one.
    ensure!(reason(api.refresh_with(&lost.refresh_token, "key").await?).await? == "reused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_true_reason_of_the_end_is_told() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let first = stack.member("anna").await?;
    let (old, new) = (stack.path("password"), stack.path("new"));
    let weak = json!({ "oldPassword": PASSWORD, "newPassword": "short" });
    let refused = refusal(first.put("/api/account/password").json(&weak).send().await?).await?;
    ensure!(
        refused.status == StatusCode::BAD_REQUEST && !refused.failure.detail.contains("short"),
        "{refused:?}"
    );
    let wrong = json!({ "oldPassword": "wrong", "newPassword": "another long one" });
    let refused = refusal(first.put("/api/account/password").json(&wrong).send().await?).await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "{refused:?}");

    // nebulactl changes the password, and its own session stays.
    let mut ctl = stack.ctl()?;
    ctl.env("XDG_CONFIG_HOME", stack.path("anna"));
    run(ctl.args(["login", "anna", "--password-file"]).arg(&old))?;
    secret(&new, "another long one")?;
    let as_anna = |arguments: &[&str]| -> Result<String> {
        let mut ctl = stack.ctl()?;
        run(ctl.env("XDG_CONFIG_HOME", stack.path("anna")).args(arguments))
    };
    let files =
        ["account", "password", "--old-file", &old.to_string_lossy(), "--new-file", &new.to_string_lossy()]
            .map(str::to_owned);
    as_anna(&files.iter().map(String::as_str).collect::<Vec<_>>())?;
    as_anna(&["account", "sessions"])?;
    ensure!(reason(first.refresh(&first.tokens.refresh_token).await?).await? == "password-changed");
    ensure!(Api::login(&stack.url(), "anna", PASSWORD).await.is_err(), "the old password signs in");

    let second = Api::login(&stack.url(), "anna", "another long one").await?;
    let ended: i32 = nebula_tests::api::data(second.delete("/api/sessions").send().await?).await?;
    ensure!(ended == 1, "{ended}");
    let left = as_anna(&["project", "ls"]).unwrap_err().to_string();
    ensure!(left.contains("was ended, by the account elsewhere"), "{left}");

    let body = json!({ "refreshToken": second.tokens.refresh_token });
    good(second.post("/api/auth/logout").json(&body).send().await?).await?;
    ensure!(reason(second.refresh(&second.tokens.refresh_token).await?).await? == "signed-out");
    let third = Api::login(&stack.url(), "anna", "another long one").await?;
    run(stack.ctl()?.args(["account", "disable", "anna"]))?;
    ensure!(reason(third.refresh(&third.tokens.refresh_token).await?).await? == "disabled");
    ensure!(reason(admin.refresh("nonsense").await?).await? == "unknown");
    Ok(())
}
