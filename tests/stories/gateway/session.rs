//! Sessions of users: sign-in, refresh, and revocation.

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nebula_api::auth::TokenPair;
use nebula_tests::api::{Api, good, refusal};
use nebula_tests::stack::{ADMIN, Stack};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::StatusCode;
use serde_json::{Value, json};

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A real token with changed claims, signed with the stack's own key.
fn forged(token: &str, header: Value, key: Option<&[u8]>, change: impl FnOnce(&mut Value)) -> Result<String> {
    let payload = token.split('.').nth(1).unwrap();
    let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?;
    change(&mut claims);
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = match key {
        Some(key) => {
            let key = PKey::hmac(key)?;
            Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(text.as_bytes())?
        }
        None => Vec::new(),
    };
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_valid_tokens_are_accepted() -> Result<()> {
    let mut stack = Stack::start().await?;
    let mut api = stack.admin().await?;
    let real = api.tokens.clone();
    let key = std::fs::read(stack.path("token.key"))?;
    let hs256 = json!({"alg": "HS256", "typ": "JWT"});

    // A token forged without changes is accepted, so the refusals below are caused by the changes.
    api.tokens.access_token = forged(&real.access_token, hs256.clone(), Some(&key), |_| ())?;
    good(api.get("/api/projects").send().await?).await?;
    let past = real.access_token.clone();
    for (why, token) in [
        ("expired", forged(&past, hs256.clone(), Some(&key), |claims| claims["exp"] = json!(1_700_000_000))?),
        ("alg none", forged(&past, json!({"alg": "none", "typ": "JWT"}), None, |_| ())?),
        ("other algorithm", forged(&past, json!({"alg": "HS512", "typ": "JWT"}), Some(&key), |_| ())?),
        ("other key", forged(&past, hs256.clone(), Some(b"another key of a decent length!!"), |_| ())?),
        ("other audience", forged(&past, hs256.clone(), Some(&key), |claims| claims["aud"] = json!("else"))?),
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
    let other: uuid::Uuid = client.query_one("SELECT nebula.create_project('other')", &[]).await?.get(0);
    let projects: Vec<nebula_api::project::Project> = member.read("/api/projects").await?;
    assert_eq!(projects.iter().map(|project| project.project_id).collect::<Vec<_>>(), [stack.project]);
    let refused = refusal(member.upload(other, "a.txt", b"text".to_vec()).await?).await?;
    assert_eq!((refused.status, refused.failure.sqlstate.as_str()), (StatusCode::FORBIDDEN, "42501"));
    assert_eq!(stack.stored()?, Vec::<std::path::PathBuf>::new());
    Ok(())
}
