//! Calls that must be refused: forged, altered, stale, repeated, of another device, too large, of a revoked
//! device.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::enrolment::EnrolmentRequest;
use nebula_certificate::Curve;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::client::{Agent, Keys, enrolment, error, post};
use super::{code, enrolled, host, number};

const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test(flavor = "multi_thread")]
async fn forged_stale_and_repeated_calls_are_refused_and_recorded() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let (agent, other) = (enrolled(&stack, "laptop").await?, enrolled(&stack, "phone").await?);
    let status = async |request: &Value| Ok::<_, anyhow::Error>(agent.send(request).await?.0);

    // Signed by a foreign key, and by another device of the project.
    let mut forged = agent.clone();
    forged.keys = Keys::new(Curve::Curve25519)?;
    assert_eq!(forged.refused("CheckForUpdate", &Value::Null).await?, REFUSED);
    let mut across = other.request("CheckForUpdate", &Value::Null)?;
    across["hostID"] = agent.host.clone().into();
    assert_eq!(status(&across).await?, REFUSED);
    // Altered in transit.
    let mut altered = agent.request("CheckForUpdate", &Value::Null)?;
    let message = String::from_utf8(BASE64_STANDARD.decode(altered["message"].as_str().unwrap())?)?;
    altered["message"] = BASE64_STANDARD.encode(message.replace("CheckForUpdate", "Leave")).into();
    assert_eq!(status(&altered).await?, REFUSED);
    // Counters and devices that were never assigned.
    for (field, wrong) in [
        ("counter", json!(2)),
        ("counter", json!(u64::MAX)),
        ("hostID", json!(uuid::Uuid::new_v4())),
        ("hostID", json!("x")),
    ] {
        let mut request = agent.request("CheckForUpdate", &Value::Null)?;
        request[field] = wrong;
        assert_eq!(status(&request).await?, REFUSED, "{request}");
    }
    // A timestamp too far in the past or in the future.
    for minutes in [-6, 6] {
        let stale = agent.skewed(minutes);
        assert_eq!(stale.refused("CheckForUpdate", &Value::Null).await?, REFUSED);
    }
    for minutes in [-4, 4] {
        let slow = agent.skewed(minutes);
        slow.call("CheckForUpdate", &Value::Null).await?;
    }
    // A recorded call sent again, at once or after a later one.
    let value = agent.keys_value("DoConfigUpdate", &agent.keys, b"0123456789")?;
    let request = agent.request("DoConfigUpdate", &value)?;
    let later = agent.request("DoConfigUpdate", &value)?;
    assert_eq!(status(&later).await?, StatusCode::OK);
    assert_eq!(status(&later).await?, REFUSED);
    assert_eq!(status(&request).await?, REFUSED);

    let recorded = "SELECT count(*) FROM nebula.event WHERE action = 'refuse-call'";
    let records = number(&database, recorded).await?;
    assert!((3..=6).contains(&records), "one per device and minute, not one per call: {records}");
    let of_project = "SELECT count(*) FROM nebula.event WHERE action = 'refuse-call'
                       AND project_id IS NOT NULL AND client IS NOT NULL";
    assert!(number(&database, of_project).await? > 0);
    assert!(!agent.update_available().await?, "the device itself is not harmed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_are_refused_before_any_costly_work() -> Result<()> {
    let stack = Stack::start().await?;
    let agent = enrolled(&stack, "laptop").await?;
    let url = stack.url();
    // The reports of nodes are the longest calls.
    for (path, most) in [("/v1/dnclient", 1 << 20), ("/v2/enroll", 64 * 1024)] {
        let huge = json!({ "code": "x".repeat(most) });
        let (status, answer) = post(&url, path, &huge).await?;
        assert_eq!((status, error(&answer).0.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "ERR_TOO_LARGE"));
        let (status, _) = post(&url, path, &json!([1])).await?;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    for (kind, value) in [
        ("Nonsense", Value::Null),
        ("DoUpdate", Value::Null),
        ("DoUpdate", json!({ "nonce": "AAAAAAAAAAAAAA==" })),
        ("DoConfigUpdate", json!({ "nonce": "" })),
        ("Status", json!({ "nonce": "AA==" })),
    ] {
        assert_eq!(agent.refused(kind, &value).await?, StatusCode::BAD_REQUEST, "{kind} {value}");
    }
    // A nebula key of the wrong curve, and a private one.
    let p256 = Keys::new(Curve::P256)?;
    let mut value = agent.keys_value("DoUpdate", &agent.keys, b"0123456789")?;
    for wrong in [p256.private_pem(), agent.keys.private_pem()] {
        value["dhPubkeyPEM"] = BASE64_STANDARD.encode(wrong).into();
        assert_eq!(agent.refused("DoUpdate", &value).await?, StatusCode::BAD_REQUEST);
    }
    assert!(!agent.update_available().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let made = code(&admin, &host(stack.project)).await?;
    let agent = Agent::enroll(&stack.url(), &made.code).await?;
    let waiting = agent.clone();
    let wait = tokio::spawn(async move { waiting.wait(&["DoConfigUpdate"]).await });
    let path = format!("/api/devices/{}/revoke", agent.host);
    let revoked: Value = nebula_tests::api::data(admin.post(&path).send().await?).await?;
    assert_eq!(revoked["fingerprints"].as_array().unwrap().len(), 2, "{revoked}");
    assert!(wait.await?.is_err() || agent.refused("CheckForUpdate", &Value::Null).await? == REFUSED);
    for kind in ["CheckForUpdate", "LongPollWait", "DoUpdate", "DoConfigUpdate", "Status", "Leave"] {
        assert_eq!(agent.refused(kind, &json!({})).await?, REFUSED, "{kind}");
    }
    // The same code, and the same device with another code.
    let [a, b] = [Keys::new(Curve::Curve25519)?, Keys::new(Curve::P256)?];
    let (_, answer) = post(&stack.url(), "/v2/enroll", &enrolment(&made.code, &a, &b)?).await?;
    assert_eq!(error(&answer), ("ERR_HOST_BLOCKED".into(), String::new()));
    let made = code(&admin, &host(stack.project)).await?;
    let mut body = enrolment(&made.code, &a, &b)?;
    body["deviceId"] = agent.host.clone().into();
    let (_, answer) = post(&stack.url(), "/v2/enroll", &body).await?;
    assert_eq!(error(&answer), ("ERR_HOST_BLOCKED".into(), String::new()));
    // The attempts have changed nothing.
    let database = stack.database.connect().await?;
    eventually("one device", || async {
        Ok((number(&database, "SELECT count(*) FROM nebula.device").await? == 1).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_can_leave_and_join_again() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let agent = enrolled(&stack, "laptop").await?;
    agent.call("Leave", &Value::Null).await?;
    assert_eq!(agent.refused("CheckForUpdate", &Value::Null).await?, REFUSED);
    let held = "SELECT count(*) FROM nebula.allocation WHERE released_at IS NULL";
    assert_eq!(number(&database, held).await?, 0);
    // No other device has to apply the blocklist, so the address is free at once.
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.allocation").await?, 0);
    // The same machine, set up anew, is a new device with the same name.
    let again = enrolled(&stack, "laptop").await?;
    assert_ne!(again.host, agent.host);
    assert_eq!(again.seen["host"]["name"], "laptop");
    // A name that is taken is refused when the code is made, and when a code without a name is used.
    let taken = EnrolmentRequest { name: Some("laptop".into()), ..host(stack.project) };
    let refused =
        code(&stack.admin().await?, &taken).await.err().context("a code for a name that is taken")?;
    assert!(refused.to_string().contains("409 Conflict"), "{refused}");
    let made = code(&stack.admin().await?, &host(stack.project)).await?;
    let [a, b] = [Keys::new(Curve::Curve25519)?, Keys::new(Curve::P256)?];
    let mut named = enrolment(&made.code, &a, &b)?;
    named["name"] = json!("laptop");
    let (status, _) = post(&stack.url(), "/v2/enroll", &named).await?;
    assert_eq!(status, StatusCode::CONFLICT);
    Ok(())
}
