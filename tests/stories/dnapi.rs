//! The agent protocol with an independent client: enrolment, updates, lost answers, refused calls.

use anyhow::{Context, Result};
use nebula_api::enrolment::{EnrolmentRequest, NewEnrolment};
use nebula_tests::api::{Api, data};
use nebula_tests::cluster::Cluster;
use nebula_tests::secret_log;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

mod adopt;
mod auth_failures;
mod cache;
pub(crate) mod client;
mod config;
mod enrolment_code;
mod foreign;
mod limits;
mod long_poll;
mod many_devices;
pub(crate) mod node;

use client::Agent;

/// The usual body for creating a code.
pub(crate) fn host(project: Uuid) -> EnrolmentRequest {
    EnrolmentRequest {
        project_id: project,
        name: None,
        role: None,
        groups: vec![],
        endpoints: vec![],
        address: None,
        uses: None,
        lifetime_seconds: None,
        device_id: None,
    }
}

/// A code made by the administrator.
pub(crate) async fn code(admin: &Api, wanted: &EnrolmentRequest) -> Result<NewEnrolment> {
    let made: NewEnrolment = data(admin.post("/api/enrolments").json(wanted).send().await?).await?;
    secret_log::note(&made.code);
    Ok(made)
}

/// A device of the stack's project that enrolled.
pub(crate) async fn enrolled(stack: &Stack, name: &str) -> Result<Agent> {
    let wanted = EnrolmentRequest { name: Some(name.into()), ..host(stack.project) };
    Agent::enroll(&stack.url(), &code(&stack.admin().await?, &wanted).await?.code).await
}

/// One number from the database.
pub(crate) async fn number(client: &Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}

async fn a_foreign_client_stays_current(name: &str) -> Result<()> {
    let stack = Stack::start_on(Cluster::shared().await?.database().await?, name).await?;
    let database = stack.database.connect().await?;
    let first = enrolled(&stack, "laptop").await?;
    assert_eq!((first.counter, first.seen["host"]["name"].as_str()), (1, Some("laptop")));
    assert_eq!(first.seen["host"]["ipAddress"], "10.99.0.1");
    let versions: Vec<_> = first.certificates()?.iter().map(|one| one.details().version.number()).collect();
    assert_eq!(versions, [1, 2]);
    assert!(!first.config.contains("key:"), "{}", first.config);
    assert!(!first.update_available().await?);

    // A host that joins changes nothing for the others; a new group needs a new certificate.
    enrolled(&stack, "phone").await?;
    assert!(!first.update_available().await?);
    let id: Uuid = first.host.parse()?;
    database.execute("SELECT nebula.set_device_groups($1, '{web}')", &[&id]).await?;
    assert!(first.update_available().await?);
    let second = first.fetch("DoUpdate").await?;
    assert!(second.certificates()?.iter().all(|one| one.details().groups == ["web"]));
    assert!(!second.update_available().await?);
    // A call with the newer counter has been seen, so the older credentials are refused from now on.
    assert_eq!(first.refused("CheckForUpdate", &Value::Null).await?, StatusCode::UNAUTHORIZED);

    // A lighthouse changes every device's configuration, but no certificate.
    let lighthouse = EnrolmentRequest {
        role: Some("lighthouse".into()),
        endpoints: vec!["192.0.2.10:4242".into()],
        ..host(stack.project)
    };
    let made = code(&stack.admin().await?, &lighthouse).await?;
    let lighthouse = Agent::enroll(&stack.url(), &made.code).await?;
    assert!(lighthouse.config.contains("am_lighthouse: true"), "{}", lighthouse.config);
    assert_eq!(second.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoConfigUpdate");
    let third = second.fetch("DoConfigUpdate").await?;
    assert_eq!(third.certificates()?, second.certificates()?);
    assert!(third.config.contains("192.0.2.10:4242"), "{}", third.config);
    assert!(!third.update_available().await?);

    // The project sets the lifetime and the encodings of certificates.
    let path = format!("/api/projects/{}/configuration", stack.project);
    let options = json!({ "lifetimeSeconds": 3600, "certificateVersions": [2] });
    stack.admin().await?.patch(&path).json(&options).send().await?.error_for_status()?;
    assert_eq!(third.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoUpdate");
    let third = third.fetch("DoUpdate").await?;
    let [short]: [_; 1] = third.certificates()?.try_into().unwrap();
    let details = short.details();
    assert_eq!(details.version.number(), 2);
    assert!(details.not_after - chrono::Utc::now().timestamp() <= 3600, "{details:?}");

    // Two thirds of the certificate's lifetime have passed, so it is due for renewal.
    database
        .execute(
            "UPDATE nebula.certificate SET issued_at = now() - interval '21 days', not_after = now() +
              interval '9 days'
              WHERE device_id = $1",
            &[&id],
        )
        .await?;
    assert_eq!(third.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoUpdate");
    let fourth = third.fetch("DoUpdate").await?;
    assert!(!fourth.update_available().await?);
    assert_eq!(fourth.counter, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_ed25519_applies_updates() -> Result<()> {
    a_foreign_client_stays_current("25519").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_p256_applies_updates() -> Result<()> {
    a_foreign_client_stays_current("P256").await
}

/// However often answers are lost, the device is accepted with the credentials it has.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_do_not_lock_a_device_out() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let first = enrolled(&stack, "laptop").await?;
    // The gateway answered, but the answer never arrived.
    let lost = first.fetch("DoUpdate").await?;
    let twice = first.fetch("DoUpdate").await?;
    let config = first.fetch("DoConfigUpdate").await?;
    assert_eq!([lost.counter, twice.counter, config.counter], [2, 3, 4]);
    // Its credentials belong to its old nebula key, not to those of the lost answers.
    assert_eq!(config.certificates()?, first.certificates()?);
    // The device may have saved any of the answers before it was killed.
    assert!(!lost.update_available().await?);
    assert_eq!(first.refused("CheckForUpdate", &Value::Null).await?, StatusCode::UNAUTHORIZED);
    assert!(!config.update_available().await?);
    assert_eq!(twice.refused("CheckForUpdate", &Value::Null).await?, StatusCode::UNAUTHORIZED);

    // The number of unacknowledged answers that are stored is bounded, and the acknowledged one is kept.
    for _ in 0..20 {
        config.fetch("DoConfigUpdate").await?;
    }
    let pending = number(&database, "SELECT count(*) FROM nebula.agent_answer").await?;
    assert_eq!(pending, 17, "the acknowledged one and 16 more");
    let last = config.fetch("DoConfigUpdate").await?;
    assert!(!last.update_available().await?);
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.agent_answer").await?, 1);
    Ok(())
}

/// A configuration that nebula refuses is not offered again, and the reason is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_is_not_offered_again() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let first = enrolled(&stack, "laptop").await?;
    database.execute("UPDATE nebula.project SET mtu = 1400", &[]).await?;
    assert!(first.update_available().await?);
    let next = first.fetch("DoConfigUpdate").await?;
    assert!(next.config.contains("mtu: 1400"), "{}", next.config);
    let nonce = b"0123456789abcdef";
    let report = json!({
        "nonce": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, nonce), "agentVersion": "1",
        "nebulaVersion": "1.6.1", "refused": { "counter": next.counter, "reason": "no such option" },
        "syncthing": { "id": "ABC", "version": "1", "folders": [] }
    });
    let answer = first.verified(&first.call("Status", &report).await?, nonce)?;
    assert_eq!(answer["syncthing"], json!([]), "nobody else shares the folder");
    assert!(!first.update_available().await?);
    let refusals = "SELECT count(*) FROM nebula.event WHERE action = 'refuse-config'";
    assert_eq!(number(&database, refusals).await?, 1);
    let status =
        database.query_one("SELECT runs, newest, nebula_version FROM nebula.agent_status", &[]).await?;
    assert_eq!((status.get::<_, i64>(0), status.get::<_, i64>(1)), (1, 2));
    database.execute("UPDATE nebula.project SET mtu = 1300", &[]).await?;
    assert!(first.update_available().await?);

    // A Syncthing that a device reports is announced to the others.
    let other = enrolled(&stack, "phone").await?;
    let answer = other.verified(&other.call("Status", &report).await?, nonce)?;
    let told = answer["syncthing"].as_array().context("no list")?;
    assert_eq!(told, &[json!({ "name": "laptop", "id": "ABC", "address": "10.99.0.1" })]);
    Ok(())
}
