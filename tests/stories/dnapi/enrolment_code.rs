//! Enrolment codes work for their purpose only.

use anyhow::Result;
use futures::future::join_all;
use nebula_api::device::{RegisterRequest, Registration};
use nebula_api::enrolment::{Enrolment, EnrolmentRequest};
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::api::{data, refusal};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::client::{Agent, Keys, enrolment, error, post};
use super::{code, enrolled, host, number};

fn keys() -> Result<[Keys; 2]> {
    Ok([Keys::new(Curve::Curve25519)?, Keys::new(Curve::P256)?])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_admits_only_its_uses_within_its_time() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let (admin, member) = (stack.admin().await?, stack.member("anna").await?);
    let refused = member.refused_post("/api/enrolments", &host(stack.project)).await?;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let wanted = EnrolmentRequest { groups: vec!["web".into()], uses: Some(2), ..host(stack.project) };
    let made = code(&admin, &wanted).await?;
    let letters: Vec<char> = made.code.chars().filter(|letter| *letter != '-').collect();
    assert_eq!(letters.len(), 25);
    assert!(letters.iter().all(|letter| letter.is_ascii_alphanumeric() && !"01IO".contains(*letter)));
    assert!(made.url.starts_with("nebula://enrol?server=http%3A%2F%2F127.0.0.1"), "{}", made.url);
    let png = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &made.qr_png)?;
    assert!(png.starts_with(b"\x89PNG"));
    let found = "SELECT count(*) FROM nebula.enrolment e WHERE to_jsonb(e)::text LIKE '%' || $1 || '%'";
    let plain: String = letters.iter().collect();
    let kept: i64 = database.query_one(found, &[&plain]).await?.get(0);
    assert_eq!(kept, 0, "the code itself is nowhere");

    // Dashes and letter case do not matter. Of many concurrent uses two succeed.
    let (typed, url) = (plain.to_lowercase(), stack.url());
    let many = join_all((0..6).map(|_| Agent::enroll(&url, &typed))).await;
    let inside: Vec<_> = many.into_iter().flatten().collect();
    assert_eq!(inside.len(), 2);
    assert!(inside.iter().all(|agent| agent.seen["host"]["name"].as_str().unwrap().starts_with("device-")));
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.allocation").await?, 2);
    let listed: Vec<Enrolment> = admin.read("/api/enrolments").await?;
    assert_eq!((listed[0].uses, listed[0].state.as_str()), (2, "used"));

    let [a, b] = keys()?;
    for (spoil, what) in [
        ("UPDATE nebula.enrolment SET expires_at = created_at", "expired"),
        ("UPDATE nebula.enrolment SET revoked_at = now()", "revoked"),
        ("DELETE FROM nebula.enrolment", "unknown"),
    ] {
        let made = code(&admin, &host(stack.project)).await?;
        database.batch_execute(spoil).await?;
        let (status, answer) = post(&stack.url(), "/v2/enroll", &enrolment(&made.code, &a, &b)?).await?;
        assert_eq!(error(&answer), ("ERR_INVALID_VALUE".into(), "code".into()), "{what}: {answer}");
        assert!(status.is_client_error(), "{what}: {status}");
    }
    Ok(())
}

/// Repeating an enrolment after a lost answer gives the same device and address, and counts as one use of the
/// code.
#[tokio::test(flavor = "multi_thread")]
async fn enrolling_again_with_the_same_keys_is_idempotent() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let made = code(&stack.admin().await?, &host(stack.project)).await?;
    let both = keys()?;
    let mut body = enrolment(&made.code, &both[0], &both[1])?;
    body["deviceId"] = json!(Uuid::new_v4());
    body["name"] = json!("laptop");
    let first = Agent::enroll_with(&stack.url(), &body, both.clone()).await?;
    let again = Agent::enroll_with(&stack.url(), &body, both).await?;
    assert_eq!((&first.host, &first.seen["host"]), (&again.host, &again.seen["host"]));
    assert_eq!(number(&database, "SELECT uses::bigint FROM nebula.enrolment").await?, 1);
    assert!(!first.update_available().await?, "either answer may have arrived");
    assert!(!again.update_available().await?);

    // The same code and identifier with other keys, or with only one of the keys, is another device.
    let stranger = keys()?;
    let stolen = enrolment(&made.code, &stranger[0], &stranger[1])?;
    for known in ["", "dhPubkey", "edPubkey"] {
        let mut stolen = stolen.clone();
        stolen["deviceId"] = body["deviceId"].clone();
        if !known.is_empty() {
            stolen[known] = body[known].clone();
        }
        let (status, answer) = post(&stack.url(), "/v2/enroll", &stolen).await?;
        assert_eq!((status, error(&answer).0.as_str()), (StatusCode::CONFLICT, "ERR_ALREADY_EXISTS"));
    }
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.device").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_codes_is_rate_limited() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let [a, b] = keys()?;
    let wrong = enrolment("AAAAA-AAAAA-AAAAA-AAAAA-AAAAA", &a, &b)?;
    let url = format!("{}/v2/enroll", stack.url());
    let mut seen = Vec::new();
    let http = reqwest::Client::new();
    while seen.last() != Some(&StatusCode::TOO_MANY_REQUESTS) && seen.len() < 50 {
        let answer = http.post(&url).body(wrong.to_string()).send().await?;
        seen.push(answer.status());
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            let wait: u64 = answer.headers()["retry-after"].to_str()?.parse()?;
            assert!((60..=601).contains(&wait), "{wait}");
        }
    }
    assert_eq!(seen.len(), 21, "{seen:?}");
    let events = number(&database, "SELECT count(*) FROM nebula.event WHERE action = 'refuse-call'").await?;
    assert_eq!(events, 1, "a flood leaves one record a minute");
    Ok(())
}

/// Registering again is idempotent, but signs anew: an account may do it ten times an hour for each device.
#[tokio::test(flavor = "multi_thread")]
async fn registration_is_limited_to_ten_an_hour_per_device() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let request = |device_id| {
        let public_key = KeyPair::generate(Curve::Curve25519)?.public_key().pem();
        let project_id = stack.project;
        let device_name = format!("device-{device_id}");
        anyhow::Ok(RegisterRequest {
            project_id,
            device_id,
            device_name,
            public_key,
            role: None,
            endpoints: vec![],
            enrolment_code: None,
        })
    };
    let [one, other] = [Uuid::new_v4(), Uuid::new_v4()];
    for _ in 0..10 {
        admin.register(&request(one)?).await?;
    }
    let answer = admin.post("/api/nebula/register").json(&request(one)?).send().await?;
    assert!(answer.headers().contains_key("retry-after"));
    let refused = refusal(answer).await?;
    assert_eq!((refused.status, refused.failure.sqlstate.as_str()), (StatusCode::TOO_MANY_REQUESTS, "54000"));
    admin.register(&request(other)?).await?;
    Ok(())
}

/// A device gets at most ten certificates an hour.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_limited_to_ten_an_hour_per_device() -> Result<()> {
    let stack = Stack::start().await?;
    let mut agent = enrolled(&stack, "laptop").await?;
    for _ in 0..9 {
        agent = agent.fetch("DoUpdate").await?;
    }
    let value = agent.keys_value("DoUpdate", &agent.keys, b"0123456789")?;
    assert_eq!(agent.refused("DoUpdate", &value).await?, StatusCode::TOO_MANY_REQUESTS);
    agent.fetch("DoConfigUpdate").await?;
    Ok(())
}

/// A code gives a bundle without an account; the properties that the code fixes apply.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_registers_a_device_without_an_agent() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let wanted = EnrolmentRequest {
        name: Some("printer".into()),
        groups: vec!["paper".into()],
        ..host(stack.project)
    };
    let made = code(&stack.admin().await?, &wanted).await?.code;
    let request = RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: "another".into(),
        public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: Some(made.to_lowercase()),
    };
    let send = async |request: &RegisterRequest| {
        let url = format!("{}/api/nebula/register", stack.url());
        anyhow::Ok(reqwest::Client::new().post(url).json(request).send().await?)
    };
    let first: Registration = data(send(&request).await?).await?;
    assert_eq!(first.device_name, "printer");
    // Repeated after a lost answer: the same device, and one use of the code.
    let again: Registration = data(send(&request).await?).await?;
    assert_eq!(again.nebula_ip, first.nebula_ip);
    assert_eq!(number(&database, "SELECT sum(uses) FROM nebula.enrolment").await?, 1);
    let groups = "SELECT count(*) FROM nebula.certificate WHERE name = 'printer' AND groups = '{paper}'";
    assert!(number(&database, groups).await? >= 2);

    let other_key = KeyPair::generate(Curve::Curve25519)?.public_key().pem();
    let changed = |change: fn(&mut RegisterRequest)| {
        let mut changed = request.clone();
        changed.public_key.clone_from(&other_key);
        change(&mut changed);
        changed
    };
    for (wrong, status) in [
        (changed(|_| ()), StatusCode::CONFLICT),
        (changed(|wrong| wrong.device_id = Uuid::new_v4()), StatusCode::NOT_FOUND),
        (changed(|wrong| wrong.project_id = Uuid::new_v4()), StatusCode::NOT_FOUND),
        (changed(|wrong| wrong.enrolment_code = Some("AAAAA-BBBBB".into())), StatusCode::NOT_FOUND),
        (changed(|wrong| wrong.enrolment_code = None), StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(refusal(send(&wrong).await?).await?.status, status, "{wrong:?}");
    }
    assert_eq!(number(&database, "SELECT count(*) FROM nebula.device").await?, 1);
    Ok(())
}

/// A refusal costs a code nothing, and a device that is gone gives no use back.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_spent_only_by_a_device_that_gets_in_and_stays_spent() -> Result<()> {
    let stack = Stack::start().await?;
    let (database, admin) = (stack.database.connect().await?, stack.admin().await?);
    let project: Uuid = database.query_one("SELECT nebula.create_project('tiny')", &[]).await?.get(0);
    let full =
        "SELECT nebula.populate_pool(project_id, '10.82.0.0/31') FROM nebula.project WHERE name = 'tiny';
                SELECT nebula.allocate_ip(project_id, gen_random_uuid())
                  FROM nebula.project, generate_series(1, 2) WHERE name = 'tiny'";
    database.batch_execute(full).await?;
    let made = code(&admin, &host(project)).await?;
    let uses = async || number(&database, "SELECT uses::bigint FROM nebula.enrolment").await;
    let enrol = async |[signing, nebula]: &[Keys; 2]| {
        post(&stack.url(), "/v2/enroll", &enrolment(&made.code, signing, nebula)?).await
    };
    let first = keys()?;
    let (status, answer) = enrol(&first).await?;
    assert!(!status.is_success(), "no address is left: {answer}");
    assert_eq!(uses().await?, 0);

    let free = "SELECT nebula.release_ip((SELECT device_id FROM nebula.allocation LIMIT 1))";
    database.batch_execute(free).await?;
    let (status, answer) = enrol(&first).await?;
    assert!(status.is_success(), "{answer}");
    assert_eq!(uses().await?, 1);

    database.batch_execute("SELECT nebula.revoke_device(device_id) FROM nebula.device").await?;
    let (_, answer) = enrol(&keys()?).await?;
    assert_eq!(error(&answer).0, "ERR_HOST_BLOCKED", "{answer}");
    assert_eq!(uses().await?, 1);
    Ok(())
}
