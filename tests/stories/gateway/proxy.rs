//! Headers about the client are believed from trusted proxies alone.

use anyhow::{Result, ensure};
use nebula_api::enrolment::NewEnrolment;
use nebula_tests::api::{Api, data};
use nebula_tests::stack::Stack;
use serde_json::json;

/// The address in the link of a new code, made with a header.
async fn link(api: &Api, stack: &Stack, header: (&str, &str)) -> Result<String> {
    let asked = api.post("/api/enrolments").header(header.0, header.1);
    let made: NewEnrolment = data(asked.json(&json!({ "projectId": stack.project })).send().await?).await?;
    let link = reqwest::Url::parse(&made.url)?;
    let server = link.query_pairs().find(|(name, _)| name == "server");
    Ok(server.map(|(_, value)| value.into_owned()).unwrap_or_default())
}

/// Tries a wrong code as a client that a header names; answers the status.
async fn guess(stack: &Stack, client: &str) -> Result<u16> {
    let body = json!({
        "code": "wrong", "dhPubkey": "", "edPubkey": "", "nebulaPubkeyP256": "", "hostPubkeyP256": "",
        "timestamp": "2026-01-01T00:00:00Z",
    });
    let asked = reqwest::Client::new().post(format!("{}/v2/enroll", stack.url()));
    Ok(asked.header("X-Forwarded-For", client).json(&body).send().await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_is_counted_by_itself_and_without_one_no_header_counts()
-> Result<()> {
    let mut stack = Stack::start().await?;
    // Nobody is trusted: one client cannot be many by a header.
    for number in 0..20 {
        ensure!(guess(&stack, &format!("198.51.100.{number}")).await? != 429, "guess {number}");
    }
    ensure!(guess(&stack, "198.51.100.99").await? == 429, "guesses are counted by the peer's address");
    let admin = stack.admin().await?;
    ensure!(link(&admin, &stack, ("X-Forwarded-Host", "evil.example")).await? == stack.url());
    ensure!(link(&admin, &stack, ("X-Forwarded-Proto", "https")).await? == stack.url());
    ensure!(link(&admin, &stack, ("Forwarded", "host=evil.example;proto=https")).await? == stack.url());

    stack.restart_with(&[("NEBULA_TRUSTED_PROXIES", "127.0.0.1")]).await?;
    for number in 0..20 {
        // The first entry is what this client claims; the proxy has appended the last one.
        ensure!(guess(&stack, "198.51.100.5, 192.0.2.1").await? != 429, "guess {number}");
    }
    ensure!(guess(&stack, "192.0.2.1").await? == 429, "the client that guessed is refused");
    ensure!(guess(&stack, "198.51.100.5").await? != 429, "nobody else is, by whatever it claimed");
    let admin = stack.admin().await?;
    ensure!(
        link(&admin, &stack, ("X-Forwarded-Host", "nebula.example.org")).await?
            == "http://nebula.example.org"
    );
    let proto = link(&admin, &stack, ("X-Forwarded-Proto", "https")).await?;
    ensure!(proto == stack.url().replace("http:", "https:"), "{proto}");

    let refused = stack.refused_gateway(&[("NEBULA_TRUSTED_PROXIES", "proxy.lan")])?;
    ensure!(refused.contains("proxy.lan") && refused.contains("10.0.0.0/8"), "{refused}");
    Ok(())
}
