//! Sessions of users: sign-in, refresh, and revocation.

use anyhow::Result;
use nebula_api::auth::TokenPair;
use nebula_tests::api::{Api, good, refusal};
use nebula_tests::stack::{ADMIN, Stack};
use nebula_tests::token::{self, Key};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// A real token with another header and changed claims.
fn forged(token: &str, header: &Value, key: &Key, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut claims = token::claims(token)?;
    change(&mut claims);
    token::sign(header, &claims, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_valid_tokens_are_accepted() -> Result<()> {
    let mut stack = Stack::start().await?;
    let mut api = stack.admin().await?;
    let real = api.tokens.clone();
    let key = std::fs::read(stack.path("token.key"))?;
    let header = token::header(&real.access_token)?;
    let signing = Key::of_gateway(&key)?;

    // A token forged without changes is accepted, so the refusals below are caused by the changes.
    api.tokens.access_token = forged(&real.access_token, &header, &signing, |claims| {
        claims["iat"] = json!(claims["iat"].as_u64().unwrap_or_default() - 1);
    })?;
    good(api.get("/api/projects").send().await?).await?;
    let past = real.access_token.clone();
    let with = |algorithm: &str| {
        let mut header = header.clone();
        header["alg"] = json!(algorithm);
        header
    };
    let unchanged = |_: &mut Value| ();
    for (why, token) in [
        ("expired", forged(&past, &header, &signing, |claims| claims["exp"] = json!(1_700_000_000))?),
        ("alg none", forged(&past, &with("none"), &Key::None, unchanged)?),
        ("other algorithm", forged(&past, &with("HS256"), &Key::Hmac(key.clone()), unchanged)?),
        ("public key as secret", forged(&past, &with("HS256"), &Key::Hmac(signing.public()?), unchanged)?),
        ("other key", forged(&past, &header, &Key::of_gateway(&[b'x'; 48])?, unchanged)?),
        ("other audience", forged(&past, &header, &signing, |claims| claims["aud"] = json!("else"))?),
        (
            "gateway's audience",
            forged(&past, &header, &signing, |claims| claims["aud"] = json!("nebula-gateway"))?,
        ),
        ("other account", forged(&past, &header, &signing, |claims| claims["sub"] = json!(Uuid::new_v4()))?),
        (
            "other session",
            forged(&past, &header, &signing, |claims| claims["session"] = json!(Uuid::new_v4()))?,
        ),
        ("no token at all", String::new()),
    ] {
        api.tokens.access_token = token;
        let refused = refusal(api.get("/api/projects").send().await?).await?;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{why}");
        assert_eq!(refused.failure.sqlstate, "28000", "{why}");
        assert!(refused.failure.hint.is_some(), "{why}: {}", refused.failure.detail);
    }
    let log = std::fs::read_to_string(stack.log("gateway"))?;
    for secret in [&real.access_token, &real.refresh_token, &String::from_utf8(key)?] {
        assert!(!log.contains(secret.as_str()), "a secret is in the log");
    }
    assert_eq!(stack.stop_gateway()?, Some(0), "a graceful end");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_of_a_refresh_token_revokes_the_family() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let first = &api.tokens.refresh_token;
    let second: TokenPair = good(api.refresh(first).await?).await?.json().await?;
    // After a lost answer the same token is accepted again within the grace period.
    let third: TokenPair = good(api.refresh(first).await?).await?.json().await?;
    assert_ne!(second.refresh_token, third.refresh_token);

    // Moves the token's use into the past, in the database.
    let client = stack.database.connect().await?;
    client
        .execute("UPDATE nebula.session_token SET replaced_at = replaced_at - interval '11 s'", &[])
        .await?;
    let thief = refusal(api.refresh(first).await?).await?;
    assert_eq!((thief.status, thief.failure.sqlstate.as_str()), (StatusCode::UNAUTHORIZED, "28000"));
    for token in [&second.refresh_token, &third.refresh_token] {
        assert_eq!(refusal(api.refresh(token).await?).await?.status, StatusCode::UNAUTHORIZED);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_logged_out_tokens_are_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let wrong = Api::login(&stack.url(), ADMIN, "wrong").await.unwrap_err().to_string();
    let unknown = Api::login(&stack.url(), "nobody", "wrong").await.unwrap_err().to_string();
    assert!(wrong.contains("401"), "{wrong}");
    assert_eq!(wrong, unknown, "an answer does not tell which accounts exist");
    let api = stack.admin().await?;
    let body = json!({"refreshToken": api.tokens.refresh_token});
    good(api.post("/api/auth/logout").json(&body).send().await?).await?;
    assert_eq!(api.refresh(&api.tokens.refresh_token).await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_see_only_their_project() -> Result<()> {
    let stack = Stack::start().await?;
    let member = stack.member("anna").await?;
    let client = stack.database.connect().await?;
    let other: Uuid = client.query_one("SELECT nebula.create_project('other')", &[]).await?.get(0);
    let projects: Vec<nebula_api::project::Project> = member.read("/api/projects").await?;
    assert_eq!(projects.iter().map(|project| project.project_id).collect::<Vec<_>>(), [stack.project]);
    let refused = refusal(member.upload(other, "a.txt", b"text".to_vec()).await?).await?;
    assert_eq!((refused.status, refused.failure.sqlstate.as_str()), (StatusCode::FORBIDDEN, "42501"));
    assert_eq!(stack.stored()?, Vec::<std::path::PathBuf>::new());
    Ok(())
}
