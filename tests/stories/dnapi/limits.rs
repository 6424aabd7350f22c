//! What a certificate or a network cannot hold is refused where it is set; what slips in by hand holds back
//! nobody.

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use nebula_api::device::RegisterRequest;
use nebula_api::enrolment::EnrolmentRequest;
use nebula_api::firewall::Rule;
use nebula_api::project_options::ProjectOptions;
use nebula_certificate::{CertificateAuthority, NewAuthority, Version};
use nebula_tests::api::{Api, data, refusal};
use nebula_tests::cluster::Cluster;
use nebula_tests::stack::{Stack, secret};
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::client::{Agent, Keys, enrolment, error, post};
use super::{code, enrolled, host, number};

/// A stack whose authority may grant two groups and the IPv4 overlay only.
async fn narrow() -> Result<Stack> {
    Stack::start_with(Cluster::shared().await?.database().await?, |folder| {
        let (networks, groups) = (["10.99.0.0/16".parse()?], ["web".to_owned(), "eu".to_owned()]);
        let year = Duration::from_secs(365 * 24 * 3600);
        let new = NewAuthority { networks: &networks, groups: &groups, ..NewAuthority::new("narrow", year) };
        let made = CertificateAuthority::create(&new, SystemTime::now())?;
        let [cert, key] = ["ca.crt", "ca.key"].map(|name| folder.join(name));
        fs::write(&cert, made.pem())?;
        secret(&key, &made.key_pem()?)?;
        let setting = |name: &str, path: std::path::PathBuf| (name.to_owned(), path.display().to_string());
        Ok(vec![setting("NEBULA_CA_CERT", cert), setting("NEBULA_CA_KEY", key)])
    })
    .await
}

async fn refused_code(admin: &Api, wanted: &EnrolmentRequest) -> Result<StatusCode> {
    let refused = admin.refused_post("/api/enrolments", wanted).await?;
    assert!(refused.failure.hint.is_some(), "{refused:?}");
    Ok(refused.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_signed_holds_back_no_configuration() -> Result<()> {
    let stack = narrow().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let (laptop, lost) = (enrolled(&stack, "laptop").await?, enrolled(&stack, "lost").await?);
    let path = format!("/api/devices/{}/groups", laptop.host);
    let many: Vec<String> = (0..65).map(|number| format!("g{number}")).collect();
    let long = "ü".repeat(32);
    for groups in [json!([""]), json!(["backup"]), json!(["web", "\u{7}"]), json!([long]), json!(many)] {
        let refused = refusal(admin.put(&path).json(&json!({ "groups": groups })).send().await?).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{groups}: {refused:?}");
        assert!(refused.failure.hint.is_some(), "{refused:?}");
    }
    let wanted = EnrolmentRequest { groups: vec!["backup".into()], ..host(stack.project) };
    assert_eq!(refused_code(&admin, &wanted).await?, StatusCode::BAD_REQUEST);
    for refused in ["populate_pool($1, 'fd99::/64', 'six')", "create_enrolment($1, groups => '{backup}')"] {
        let refused =
            database.query(&format!("SELECT nebula.{refused}"), &[&stack.project]).await.unwrap_err();
        let said = refused.as_db_error().expect("of the database");
        assert_eq!((said.code().code(), said.hint().is_some()), ("22023", true), "{said}");
    }
    admin.put(&path).json(&json!({ "groups": ["web"] })).send().await?.error_for_status()?;
    let laptop = laptop.fetch("DoUpdate").await?;
    assert_eq!(laptop.certificates()?[0].details().groups, ["web"]);

    // By hand, in spite of all. The device keeps its certificate and gets the blocklist with it.
    let spoil = "UPDATE nebula.device SET groups = $1::text::text[] WHERE device_id = $2::text::uuid";
    for groups in ["{web,NULL}", "{{web,eu},{eu,web}}"] {
        let refused = database.execute(spoil, &[&groups, &laptop.host]).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("23514"), "{groups}: {refused}");
    }
    for groups in ["{backup}", "{\"\"}"] {
        database.execute(spoil, &[&groups, &laptop.host]).await?;
        assert!(!laptop.update_available().await?, "{groups}");
    }
    admin.post(&format!("/api/devices/{}/revoke", lost.host)).send().await?.error_for_status()?;
    assert_eq!(laptop.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoConfigUpdate");
    let next = laptop.fetch("DoConfigUpdate").await?;
    assert_eq!(next.blocklist()?.len(), 2);
    assert_eq!(next.certificates()?, laptop.certificates()?);
    assert!(!next.update_available().await?);
    let settled = "SELECT count(*) FROM nebula.certificate WHERE revoked_everywhere_at IS NOT NULL";
    assert_eq!(number(&database, settled).await?, 2, "the device has acknowledged the blocklist");

    // Once it can be signed again, it gets a certificate.
    admin.put(&path).json(&json!({ "groups": ["eu"] })).send().await?.error_for_status()?;
    let next = next.fetch(&next.wait(&["DoUpdate", "DoConfigUpdate"]).await?).await?;
    assert_eq!(next.certificates()?[0].details().groups, ["eu"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_thing_twice_is_one_or_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let rule = Rule {
        project_id: stack.project,
        direction: "inbound".into(),
        protocol: "tcp".into(),
        port_first: Some(22),
        remote_groups: vec!["web".into(), "eu".into()],
        ..Rule::default()
    };
    let again = Rule { remote_groups: vec!["eu".into(), "web".into()], port_last: Some(22), ..rule.clone() };
    let wider = Rule { remote_groups: vec!["eu".into()], ..rule.clone() };
    let mut numbers = Vec::new();
    for rule in [&rule, &again, &wider] {
        let made: Rule = data(admin.post("/api/firewall").json(rule).send().await?).await?;
        numbers.push(made.rule_id.unwrap());
    }
    assert!(numbers[0] == numbers[1] && numbers[1] != numbers[2], "{numbers:?}");

    let named = |name: &str| EnrolmentRequest { name: Some(name.into()), ..host(stack.project) };
    let at = |address: &str| EnrolmentRequest { address: Some(address.into()), ..host(stack.project) };
    let first = code(&admin, &named("nas")).await?;
    code(&admin, &at("10.99.0.9")).await?;
    let lighthouse = EnrolmentRequest {
        role: Some("lighthouse".into()),
        endpoints: vec!["10.99.7.7:4242".into()],
        ..host(stack.project)
    };
    for (wrong, status) in [
        (named("nas"), StatusCode::CONFLICT),
        (named("NAS"), StatusCode::CONFLICT),
        (at("10.99.0.9"), StatusCode::CONFLICT),
        (at("10.98.0.9"), StatusCode::BAD_REQUEST),
        (lighthouse, StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(refused_code(&admin, &wrong).await?, status, "{wrong:?}");
    }
    let nas = Agent::enroll(&stack.url(), &first.code).await?;
    // While a device has the name, in any letter case, no code for it could be used.
    assert_eq!(refused_code(&admin, &named("Nas")).await?, StatusCode::CONFLICT);
    admin.post(&format!("/api/devices/{}/revoke", nas.host)).send().await?.error_for_status()?;
    let second = code(&admin, &named("Nas")).await?;
    let nas = Agent::enroll(&stack.url(), &second.code).await?;

    // A key is that of one device; two devices with one key are one.
    let both = [nas.keys.clone(), Keys::new(nebula_certificate::Curve::P256)?];
    let third = code(&admin, &host(stack.project)).await?;
    let body = enrolment(&third.code, &both[0], &both[1])?;
    let (status, answer) = post(&stack.url(), "/v2/enroll", &body).await?;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    error(&answer);
    let key =
        nebula_certificate::KeyPair::generate(nebula_certificate::Curve::Curve25519)?.public_key().pem();
    let request = |name: &str| RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: name.into(),
        public_key: key.clone(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    let first = request("tv");
    admin.register(&first).await?;
    admin.register(&first).await?;
    for wrong in [request("radio"), RegisterRequest { device_id: Uuid::new_v4(), ..first.clone() }] {
        assert_eq!(admin.refused_post("/api/nebula/register", &wrong).await?.status, StatusCode::CONFLICT);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_project_with_both_families_joins_with_an_address_of_each() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    database.execute("SELECT nebula.populate_pool($1, 'fd99::/64', 'six')", &[&stack.project]).await?;
    let networks = |agent: &Agent| -> Result<Vec<(Version, Vec<String>)>> {
        let certificates = agent.certificates()?;
        let of = |one: &nebula_certificate::Certificate| {
            let networks = one.details().networks.iter().map(ToString::to_string).collect();
            (one.details().version, networks)
        };
        Ok(certificates.iter().map(of).collect())
    };
    let laptop = enrolled(&stack, "laptop").await?;
    let [four, six] = ["10.99.0.1/16", "fd99::1/64"].map(str::to_owned);
    let both = vec![(Version::V1, vec![four.clone()]), (Version::V2, vec![four.clone(), six.clone()])];
    assert_eq!(networks(&laptop)?, both);
    let request = RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: "tv".into(),
        public_key: Keys::new(nebula_certificate::Curve::Curve25519)?.public_pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    admin.register(&request).await?;
    let held = "SELECT count(*) FROM nebula.allocation WHERE host(ip) IN ('10.99.0.2', 'fd99::2')";
    assert_eq!(number(&database, held).await?, 2);

    // One number needs no brackets; a device that reads version 1 alone is named.
    let path = format!("/api/projects/{}/configuration", stack.project);
    let set = async |versions: serde_json::Value| {
        admin.patch(&path).json(&json!({ "certificateVersions": versions })).send().await
    };
    let options: ProjectOptions = data(set(json!(1)).await?).await?;
    assert_eq!(options.certificate_versions, Some(vec![1]));
    let laptop = laptop.fetch(&laptop.wait(&["DoUpdate", "DoConfigUpdate"]).await?).await?;
    assert_eq!(networks(&laptop)?, [(Version::V1, vec![four.clone()])]);
    for wrong in [json!("two"), json!({}), json!([3])] {
        let refused = refusal(set(wrong).await?).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
    let report = "UPDATE nebula.agent SET nebula_version = $1";
    database.execute(report, &[&"1.6.1"]).await?;
    let refused = refusal(set(json!(2)).await?).await?;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.failure.detail.contains("\"laptop\" runs nebula 1.6.1"), "{refused:?}");
    database.execute(report, &[&"1.10.0"]).await?;
    let options: ProjectOptions = data(set(json!(2)).await?).await?;
    assert_eq!(options.certificate_versions, Some(vec![2]));
    let laptop = laptop.fetch(&laptop.wait(&["DoUpdate", "DoConfigUpdate"]).await?).await?;
    assert_eq!(networks(&laptop)?, [(Version::V2, vec![four, six])]);
    Ok(())
}
