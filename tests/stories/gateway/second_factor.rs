//! The second factor through HTTP and nebulactl: signing in takes a code of the authenticator, which counts once.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_api::auth::{LoginRequest, TokenPair};
use nebula_api::totp::{NewTotp, RecoveryCodes, TotpState};
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::{root, run};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

/// An authenticator that has scanned the QR code.
fn authenticator(made: &NewTotp) -> Result<Totp> {
    let secret =
        Secret::try_from_base32(&made.secret).map_err(|_| anyhow::anyhow!("the secret is no base32"))?;
    Ok(Builder::new().with_secret(secret).build()?)
}

/// The code of a moment, in seconds from now: tests use those of the next half minute, too, which the gateway accepts.
fn code(authenticator: &Totp, from_now: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    authenticator.generate(now.as_secs() + from_now).to_string()
}

async fn login(stack: &Stack, code: Option<&str>) -> Result<Response> {
    let body =
        LoginRequest { username: "anna".into(), password: PASSWORD.into(), code: code.map(str::to_owned) };
    Ok(Client::new().post(format!("{}/api/auth/login", stack.url())).json(&body).send().await?)
}

/// Switches the second factor of an account on.
async fn switch_on(api: &Api) -> Result<(Totp, Vec<String>)> {
    let body = json!({ "password": PASSWORD });
    let answer = good(api.post("/api/account/totp").json(&body).send().await?).await?;
    ensure!(answer.headers()["cache-control"] == "no-store");
    let made: NewTotp = data(answer).await?;
    let authenticator = authenticator(&made)?;
    let confirmed = json!({ "code": code(&authenticator, 0) });
    let codes: RecoveryCodes = data(api.put("/api/account/totp").json(&confirmed).send().await?).await?;
    Ok((authenticator, codes.recovery_codes))
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_takes_a_code_that_counts_once() -> Result<()> {
    let stack = Stack::start().await?;
    let anna = stack.member("anna").await?;
    let wrong = json!({ "password": "wrong" });
    let refused = refusal(anna.post("/api/account/totp").json(&wrong).send().await?).await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "{refused:?}");
    let (authenticator, recovery) = switch_on(&anna).await?;

    let missing = refusal(login(&stack, None).await?).await?;
    ensure!(missing.failure.reason.as_deref() == Some("second-factor"), "{missing:?}");
    let wrong = refusal(login(&stack, Some("000000")).await?).await?;
    ensure!(wrong.status == StatusCode::UNAUTHORIZED && wrong.failure.reason.is_none(), "{wrong:?}");
    // That of this moment has confirmed the authenticator.
    let next = code(&authenticator, 30);
    good(login(&stack, Some(&next)).await?).await?.json::<TokenPair>().await?;
    ensure!(login(&stack, Some(&next)).await?.status() == StatusCode::UNAUTHORIZED, "a code counts twice");

    let spare = recovery.first().context("no recovery codes")?.to_lowercase();
    good(login(&stack, Some(&spare)).await?).await?;
    ensure!(
        login(&stack, Some(&spare)).await?.status() == StatusCode::UNAUTHORIZED,
        "a recovery code counts twice"
    );
    let state: TotpState = anna.read("/api/account/totp").await?;
    ensure!(state.enabled && state.recovery_codes == 9, "{state:?}");

    // Neither the secret nor a code is in the log, nor in a dump but sealed and hashed.
    let log = std::fs::read_to_string(stack.log("gateway"))?;
    ensure!(
        !log.contains(&spare) && !log.contains(&authenticator.secret().to_base32()),
        "a secret is in the log"
    );
    let sealed: Vec<u8> =
        stack.database.connect().await?.query_one("SELECT sealed_secret FROM nebula.totp", &[]).await?.get(0);
    let secret = authenticator.secret().as_bytes();
    ensure!(!sealed.windows(secret.len()).any(|part| part == secret), "the secret is not sealed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_authenticator_is_taken_away_by_an_operator() -> Result<()> {
    let stack = Stack::start().await?;
    let anna = stack.member("anna").await?;
    let (authenticator, _) = switch_on(&anna).await?;
    let as_anna = |arguments: &[&str]| -> Result<Command> {
        let mut ctl = stack.ctl()?;
        ctl.env("XDG_CONFIG_HOME", stack.path("anna")).args(arguments);
        Ok(ctl)
    };
    let password = stack.path("password");
    let password = password.to_string_lossy();
    let login = ["login", "anna", "--password-file", &password];
    let refused = as_anna(&login)?.output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("--code"), "{said}");
    let next = code(&authenticator, 30);
    run(as_anna(&login)?.args(["--code", &next]))?;
    ensure!(run(&mut as_anna(&["account", "totp", "status"])?)?.contains("10 recovery codes"));

    run(stack.ctl()?.args(["account", "totp", "remove", "anna"]))?;
    run(&mut as_anna(&login)?)?;
    // Of the operator itself, by password.
    let on = run(stack.ctl()?.args(["account", "totp", "on", "--json", "--password-file", &password]))?;
    let made: NewTotp = serde_json::from_str(&on)?;
    let confirm = code(&self::authenticator(&made)?, 0);
    run(stack.ctl()?.args(["account", "totp", "confirm", &confirm]))?;
    ensure!(Api::login(&stack.url(), ADMIN, PASSWORD).await.is_err(), "signed in without a code");
    run(stack.ctl()?.args(["account", "totp", "off", "--password-file", &password]))?;
    Api::login(&stack.url(), ADMIN, PASSWORD).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_invited_and_asked_for_codes_in_a_browser() -> Result<()> {
    let stack = Stack::start().await?;
    let (_, recovery) = switch_on(&stack.member("anna").await?).await?;
    let link = run(stack.ctl()?.args(["account", "invite", "--quiet"]))?;
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    std::fs::create_dir_all(&pictures)?;
    let mut browser = Command::new("npm");
    browser.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "people"]);
    browser.env("NEBULA_URL", stack.url()).env("NEBULA_PASSWORD", PASSWORD).env("NEBULA_PICTURES", &pictures);
    run(browser.env("NEBULA_INVITATION", link.trim()).env("NEBULA_CODE", &recovery[0]))?;
    Ok(())
}
