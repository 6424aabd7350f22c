//! A device that joined without an agent gets one, and keeps its identity.

use anyhow::{Context, Result};
use nebula_api::device::{Device, RegisterRequest, Registration};
use nebula_api::enrolment::{Enrolment, EnrolmentRequest};
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::api::Api;
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::client::{Agent, Keys, enrolment, error, post};
use super::{code, enrolled, host, number};

fn keys() -> Result<[Keys; 2]> {
    Ok([Keys::new(Curve::Curve25519)?, Keys::new(Curve::P256)?])
}

fn request(project: Uuid, name: &str) -> Result<RegisterRequest> {
    Ok(RegisterRequest {
        project_id: project,
        device_id: Uuid::new_v4(),
        device_name: name.into(),
        public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    })
}

async fn registered(stack: &Stack, admin: &Api, name: &str) -> Result<(RegisterRequest, Registration)> {
    let request = request(stack.project, name)?;
    let registration = admin.register(&request).await?;
    Ok((request, registration))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_code_adds_an_agent_and_changes_nothing_else() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    enrolled(&stack, "first").await?;
    let (device, held) = registered(&stack, &admin, "laptop").await?;
    let (other, _) = registered(&stack, &admin, "phone").await?;
    database.execute("SELECT nebula.set_device_groups($1, '{web}')", &[&device.device_id]).await?;
    let wanted = EnrolmentRequest { device_id: Some(device.device_id), ..host(stack.project) };
    let made = code(&admin, &wanted).await?;
    let listed: Vec<Enrolment> = admin.read("/api/enrolments").await?;
    let listed = listed.iter().find(|one| one.enrolment_id == made.enrolment_id).context("not listed")?;
    assert_eq!((listed.name.as_deref(), listed.device_id), (Some("laptop"), Some(device.device_id)));

    // A code for another device of the project, and one for a bundle without an agent.
    let both = keys()?;
    let mut body = enrolment(&made.code, &both[0], &both[1])?;
    body["deviceId"] = json!(other.device_id);
    let (status, answer) = post(&stack.url(), "/v2/enroll", &body).await?;
    assert_eq!((status, error(&answer).0.as_str()), (StatusCode::CONFLICT, "ERR_ALREADY_EXISTS"), "{answer}");
    let bundle =
        RegisterRequest { enrolment_code: Some(made.code.clone()), ..request(stack.project, "nas")? };
    let refused = reqwest::Client::new().post(format!("{}/api/nebula/register", stack.url()));
    assert_eq!(refused.json(&bundle).send().await?.status(), StatusCode::CONFLICT);

    // The same device, whatever name it asks for; the answer may be lost.
    body["deviceId"] = json!(Uuid::new_v4());
    body["name"] = json!("something-else");
    let agent = Agent::enroll_with(&stack.url(), &body, both.clone()).await?;
    let again = Agent::enroll_with(&stack.url(), &body, both).await?;
    for agent in [&agent, &again] {
        assert_eq!(agent.host, device.device_id.to_string());
        assert_eq!(agent.seen["host"]["name"], "laptop");
        assert_eq!(agent.seen["host"]["ipAddress"], held.nebula_ip);
        assert!(agent.certificates()?.iter().all(|one| one.details().groups == ["web"]));
    }
    assert!(again.update_available().await?, "by which it is known to have taken over");
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.device").await?, 3);
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.agent").await?, 2);

    // The code is used up for all others, and no second device is created.
    let [a, b] = keys()?;
    let (_, answer) = post(&stack.url(), "/v2/enroll", &enrolment(&made.code, &a, &b)?).await?;
    assert_eq!(error(&answer), ("ERR_INVALID_VALUE".into(), "code".into()), "{answer}");
    assert_eq!(admin.refused_post("/api/enrolments", &wanted).await?.status, StatusCode::CONFLICT);
    again.call("CheckForUpdate", &Value::Null).await.context("nobody took its place")?;

    // A device whose address was reclaimed gets one again.
    let path = format!("/api/nebula/release/{}", other.device_id);
    admin.post(&path).json(&json!({})).send().await?.error_for_status()?;
    let wanted = EnrolmentRequest { device_id: Some(other.device_id), ..host(stack.project) };
    let phone = Agent::enroll(&stack.url(), &code(&admin, &wanted).await?.code).await?;
    assert_eq!(phone.host, other.device_id.to_string());
    assert!(phone.seen["host"]["ipAddress"].as_str().is_some_and(|ip| ip.starts_with("10.99.0.")));
    Ok(())
}

/// The certificates of a bundle are valid until the agent runs its own: then a copy of the bundle's folder is
/// worthless. Keys that the agent itself has used are not put on blocklists.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_revoked_when_the_agent_takes_over() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let friend = enrolled(&stack, "friend").await?;
    let (device, _) = registered(&stack, &admin, "laptop").await?;
    // Two bundles with different keys.
    let public_key = KeyPair::generate(Curve::Curve25519)?.public_key().pem();
    admin.register(&RegisterRequest { public_key, ..device.clone() }).await?;
    let handed_out = [revoked(&database, false).await?, revoked(&database, true).await?];
    assert_eq!(handed_out.each_ref().map(Vec::len), [4, 0]);
    let version = "SELECT config_version FROM nebula.project";
    let before = number(&database, version).await?;

    // Enrolling alone does not invalidate the bundles, not even when it is repeated after a lost answer.
    let wanted = EnrolmentRequest { device_id: Some(device.device_id), ..host(stack.project) };
    let made = code(&admin, &wanted).await?;
    let both = keys()?;
    let body = enrolment(&made.code, &both[0], &both[1])?;
    Agent::enroll_with(&stack.url(), &body, both.clone()).await?;
    let again = Agent::enroll_with(&stack.url(), &body, both).await?;
    assert_eq!(again.counter, 2);
    assert_eq!(again.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoConfigUpdate");
    // A sent configuration is not a running one. Once it runs, the credentials of the enrolment are gone.
    let runs = again.fetch("DoUpdate").await?;
    assert!(again.update_available().await?);
    assert_eq!(revoked(&database, true).await?, [""; 0]);
    assert_eq!(number(&database, version).await?, before);
    assert!(runs.update_available().await?, "its own blocklist");
    assert_eq!(revoked(&database, true).await?, handed_out[0]);
    let events = "SELECT count(*) FROM nebula.event WHERE action = 'end-bundle'
                   AND (SELECT array_agg(f ORDER BY f)
                    FROM jsonb_array_elements_text(detail -> 'certificates') f) =
                       (SELECT array_agg(encode(fingerprint, 'hex') ORDER BY fingerprint)
                        FROM nebula.certificate WHERE revoked_at IS NOT NULL)";
    assert_eq!(number(&database, events).await?, 1);

    // The other devices get the blocklist; the agent's own former keys are not on it.
    assert_eq!(friend.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoConfigUpdate");
    let mut blocked = friend.fetch("DoConfigUpdate").await?.blocklist()?;
    blocked.sort();
    assert_eq!(blocked, handed_out[0]);
    let next = runs.fetch("DoUpdate").await?;
    assert!(!next.update_available().await?);
    let last = next.fetch("DoUpdate").await?;
    assert!(!last.update_available().await?);
    assert_eq!(revoked(&database, true).await?, handed_out[0]);
    Ok(())
}

/// Fingerprints of the laptop's certificates that are revoked, or that are not.
async fn revoked(database: &Client, revoked: bool) -> Result<Vec<String>> {
    let sql = "SELECT encode(fingerprint, 'hex') FROM nebula.certificate JOIN nebula.device USING (device_id)
                WHERE device.name = 'laptop' AND (certificate.revoked_at IS NOT NULL) = $1
                 ORDER BY fingerprint";
    Ok(database.query(sql, &[&revoked]).await?.iter().map(|row| row.get(0)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_an_ineligible_device_is_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let (device, _) = registered(&stack, &admin, "laptop").await?;
    let bound = EnrolmentRequest { device_id: Some(device.device_id), ..host(stack.project) };
    for wrong in [
        EnrolmentRequest { name: Some("other".into()), ..bound.clone() },
        EnrolmentRequest { role: Some("relay".into()), ..bound.clone() },
        EnrolmentRequest { groups: vec!["web".into()], ..bound.clone() },
        EnrolmentRequest { address: Some("10.99.0.77".into()), ..bound.clone() },
        EnrolmentRequest { endpoints: vec!["192.0.2.1:4242".into()], ..bound.clone() },
        EnrolmentRequest { uses: Some(2), ..bound.clone() },
    ] {
        let refused = admin.refused_post("/api/enrolments", &wrong).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong:?}: {:?}", refused.failure);
    }
    let unknown = EnrolmentRequest { device_id: Some(Uuid::new_v4()), ..host(stack.project) };
    assert_eq!(admin.refused_post("/api/enrolments", &unknown).await?.status, StatusCode::NOT_FOUND);
    let elsewhere = database.query_one("SELECT nebula.create_project('elsewhere')", &[]).await?.get(0);
    let across = EnrolmentRequest { project_id: elsewhere, ..bound.clone() };
    assert_eq!(admin.refused_post("/api/enrolments", &across).await?.status, StatusCode::NOT_FOUND);

    // A code that was created in time and used too late.
    let made = code(&admin, &bound).await?;
    admin.post(&format!("/api/devices/{}/revoke", device.device_id)).send().await?.error_for_status()?;
    let [a, b] = keys()?;
    let (_, answer) = post(&stack.url(), "/v2/enroll", &enrolment(&made.code, &a, &b)?).await?;
    assert_eq!(error(&answer), ("ERR_HOST_BLOCKED".into(), String::new()), "{answer}");
    assert_eq!(admin.refused_post("/api/enrolments", &bound).await?.status, StatusCode::CONFLICT);
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.agent").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_turns_a_bundle_folder_into_an_agent_folder() -> Result<()> {
    let stack = Stack::start().await?;
    let (folder, name) = (stack.path("laptop"), "laptop");
    let join = |arguments: &[&str]| {
        let mut command = stack.ctl()?;
        command.args(["--json", "join"]).args(arguments).arg("--dir").arg(&folder);
        let said = run(&mut command)?;
        anyhow::Ok(serde_json::from_str::<Value>(&said)?)
    };
    let first = join(&["--name", name])?;
    let make = |arguments: &[&str]| {
        let said = run(stack.ctl()?.args(["--json", "enrolment", "create"]).args(arguments))?;
        let said: Value = serde_json::from_str(&said)?;
        said["code"].as_str().map(str::to_owned).context("no code")
    };
    // A code for a new device does not fit this one, and changes nothing.
    let fresh = make(&[])?;
    let refused = join(&["--code", &fresh]).unwrap_err().to_string();
    assert!(refused.contains("enrolment create --device"), "{refused}");
    assert!(folder.join("node.key").exists() && folder.join("device.json").exists());

    let second = join(&["--code", &make(&["--device", name])?])?;
    for field in ["deviceId", "deviceName", "nebulaIp"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    let left: Vec<_> = ["node.key", "node.crt", "nebula.yml", "device.json"]
        .into_iter()
        .filter(|name| folder.join(name).exists())
        .collect();
    assert_eq!(left, [""; 0], "nothing of the bundle");
    assert!(folder.join("current/nebula.yml").exists() && folder.join("agent.json").exists());
    // Calls with the new key are accepted.
    run(stack.ctl()?.args(["leave", "--yes", "--dir"]).arg(&folder))?;
    let devices: Vec<Device> = stack.admin().await?.read("/api/devices").await?;
    assert!(devices.len() == 1 && devices[0].revoked_at.is_some(), "{devices:?}");
    Ok(())
}
