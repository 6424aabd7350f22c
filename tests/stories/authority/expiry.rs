//! An authority that ends soon is named where people look; pairs that cannot be used are left out and not
//! tried again.

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_certificate::{CertificateAuthority, Cost, NewAuthority};
use nebula_tests::api::{Api, refusal};
use nebula_tests::cluster::Cluster;
use nebula_tests::eventually;
use nebula_tests::stack::{Stack, secret};
use serde_json::{Value, json};
use uuid::Uuid;

/// Looks once more, as the gateway does every hour.
const AGAIN: &str = "SELECT nebula.record_ending_authorities(NULL)";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A stack whose authority lasts this long from now, and has one device.
async fn stack_for(lifetime: Duration) -> Result<Stack> {
    let database = Cluster::shared().await?.database().await?;
    let stack = Stack::start_with(database, |folder| {
        let made = CertificateAuthority::create(&NewAuthority::new("brief", lifetime), SystemTime::now())?;
        fs::write(folder.join("ca.crt"), made.pem())?;
        secret(&folder.join("ca.key"), &made.key_pem()?)?;
        fs::create_dir(folder.join("authorities"))?;
        let path = |name: &str| folder.join(name).display().to_string();
        Ok(vec![
            ("NEBULA_CA_CERT".to_owned(), path("ca.crt")),
            ("NEBULA_CA_KEY".to_owned(), path("ca.key")),
            ("NEBULA_CA_DIR".to_owned(), path("authorities")),
        ])
    })
    .await?;
    let body = json!({
        "projectId": stack.project, "deviceId": Uuid::new_v4(), "deviceName": "laptop",
        "publicKey": hex::encode([9; 32]),
    });
    let answer = stack.admin().await?.post("/api/nebula/register").json(&body).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(stack)
}

/// The part of the readiness that is about authorities.
async fn readiness(api: &Api) -> Result<(u16, Value)> {
    let answer = api.anonymous("/health/ready").send().await?;
    let status = answer.status().as_u16();
    let health: Value = answer.json().await?;
    let checks = health["checks"].as_array().context("no checks")?;
    let check = checks.iter().find(|check| check["name"] == "authority").context("no such check")?;
    Ok((status, check.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_ends_soon_is_named_by_health_doctor_metrics_and_events() -> Result<()> {
    let mut stack = stack_for(DAY * 2).await?;
    // A restart looks at once; otherwise the gateway looks every hour.
    stack.restart_with(&[]).await?;
    let api = stack.admin().await?;
    let (status, check) = readiness(&api).await?;
    ensure!(status == 200 && check["ok"] == true, "{check}");
    ensure!(check["detail"].as_str().is_some_and(|text| text.contains("\"brief\"")), "{check}");
    ensure!(check["hint"].as_str().is_some_and(|text| text.contains("ca rotate")), "{check}");
    let doctor = stack.ctl()?.args(["--json", "doctor"]).output()?;
    let doctor: Value = serde_json::from_slice(&doctor.stdout)?;
    let notes = doctor["checks"].as_array().context("no checks")?;
    ensure!(notes.iter().any(|one| one["name"] == "authority" && one["state"] == "note"), "{doctor}");
    let metrics = api.anonymous("/metrics").send().await?.text().await?;
    let gauge = metrics.lines().find(|line| line.starts_with("nebula_authority_expiry_seconds{"));
    let seconds: f64 = gauge.and_then(|line| line.split(' ').next_back()).context("no gauge")?.parse()?;
    ensure!((86_400.0..2.0 * 86_400.0).contains(&seconds), "{seconds}");

    let database = stack.database.connect().await?;
    let recorded = "SELECT action, (detail ->> 'withinDays')::integer FROM nebula.event
                     WHERE subject = 'authority' AND action IN ('expiring', 'expired') ORDER BY event_id";
    let events = || async {
        let rows = database.query(recorded, &[]).await?;
        Ok::<_, anyhow::Error>(
            rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(String, i32)>>(),
        )
    };
    let week = vec![("expiring".to_owned(), 7)];
    eventually("the event", || async { Ok((events().await? == week).then_some(())) }).await?;
    ensure!(database.query_one(AGAIN, &[]).await?.get::<_, i32>(0) == 0, "a warning is recorded once");

    let join = authority_of_guests_ends(&stack, &api).await?;

    // It has ended: the project cannot sign, and health says why.
    database
        .batch_execute(
            "UPDATE nebula.authority SET not_before = now() - interval '3 days', not_after = now()",
        )
        .await?;
    ensure!(database.query_one(AGAIN, &[]).await?.get::<_, i32>(0) == 1);
    ensure!(events().await?.last() == Some(&("expired".to_owned(), 0)));
    let check = eventually("readiness to fail", || async {
        let (status, check) = readiness(&api).await?;
        Ok((status == 503).then_some(check))
    })
    .await?;
    ensure!(check["ok"] == false && check["hint"].is_string(), "{check}");

    database.batch_execute("UPDATE nebula.authority SET not_after = now() + interval '2 days'").await?;
    gateway_without_keys(&mut stack, &api, &join).await
}

/// The authority of another project ends: a hint, since the gateway goes on for the first. Returns the
/// registration of its device.
async fn authority_of_guests_ends(stack: &Stack, api: &Api) -> Result<Value> {
    let database = stack.database.connect().await?;
    let guests: Uuid =
        database.query_one("SELECT nebula.create_project('guests', '10.77.0.0/16')", &[]).await?.get(0);
    database.execute("SELECT nebula.populate_pool($1, '10.77.0.0/24')", &[&guests]).await?;
    let join = json!({
        "projectId": guests, "deviceId": Uuid::new_v4(), "deviceName": "phone",
        "publicKey": hex::encode([7; 32]),
    });
    let joined = api.post("/api/nebula/register").json(&join).send().await?;
    ensure!(joined.status().is_success(), "{}", joined.text().await?);
    database
        .batch_execute(
            "UPDATE nebula.authority SET not_before = now() - interval '3 days', not_after = now()
              WHERE name = 'guests'",
        )
        .await?;
    ensure!(database.query_one(AGAIN, &[]).await?.get::<_, i32>(0) == 1);
    eventually("the hint", || async {
        let (status, check) = readiness(api).await?;
        ensure!(status == 200 && check["ok"] == true, "{status}: {check}");
        Ok(check["detail"].as_str().is_some_and(|text| text.contains("\"guests\" expired")).then_some(()))
    })
    .await?;
    Ok(join)
}

/// Another gateway, which was not given the key of the second project.
async fn gateway_without_keys(stack: &mut Stack, api: &Api, join: &Value) -> Result<()> {
    fs::create_dir(stack.path("empty"))?;
    let empty = stack.path("empty").display().to_string();
    stack.restart_with(&[("NEBULA_CA_DIR", &empty)]).await?;
    let health: Value = api.anonymous("/health/ready").send().await?.json().await?;
    let checks = health["checks"].as_array().context("no checks")?;
    let keys = checks.iter().find(|check| check["name"] == "authority-keys").context("no such check")?;
    ensure!(health["status"] == "ok" && keys["detail"].as_str().is_some_and(|text| text.contains("guests")));
    let refused = refusal(api.post("/api/nebula/register").json(join).send().await?).await?;
    let hint = refused.failure.hint.unwrap_or_default();
    ensure!(refused.status == 503 && hint.contains("NEBULA_CA_DIR") && hint.contains(".key"), "{hint}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_be_used_is_opened_once_and_keeps_nobody_waiting() -> Result<()> {
    let mut stack = stack_for(DAY * 365).await?;
    let folder = stack.path("authorities");
    // A key under another passphrase: trying it takes about a second and a quarter of a gigabyte.
    let cost = Cost { memory: 256 * 1024, iterations: 3, parallelism: 4 };
    let made = CertificateAuthority::create(&NewAuthority::new("foreign", DAY), SystemTime::now())?;
    fs::write(folder.join("foreign.crt"), made.pem())?;
    secret(&folder.join("foreign.key"), &made.encrypted_key_pem("another", cost)?)?;
    stack.restart_with(&[("NEBULA_CA_PASSPHRASE", "right")]).await?;
    let api = stack.admin().await?;
    try_join_all((0..6).map(|_| api.read::<Value>("/api/authorities"))).await?;
    let health: Value = api.anonymous("/health/ready").send().await?.json().await?;
    let told = health["checks"].as_array().is_some_and(|checks| {
        checks.iter().any(|check| check["name"] == "authorities" && check["hint"].is_string())
    });
    ensure!(health["status"] == "ok" && told, "{health}");
    let log = fs::read_to_string(stack.log("gateway"))?;
    let tries = log.matches("an authority is left out").count();
    ensure!(tries == 1 && log.contains("foreign.key"), "{tries} tries: {log}");
    Ok(())
}
