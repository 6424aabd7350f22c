//! Revocation: the address is free again only after every device has acknowledged a blocklist with the
//! certificate.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use nebula_api::device::RegisterRequest;
use nebula_api::enrolment::EnrolmentRequest;
use nebula_api::revocation::Revocation;
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::api::{Api, data};
use nebula_tests::cluster::Cluster;
use nebula_tests::invariants;
use nebula_tests::rounds;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::dnapi::client::Agent;
use crate::dnapi::{code, enrolled, host, number};

async fn revoke(admin: &Api, agent: &Agent) -> Result<Revocation> {
    data(admin.post(&format!("/api/devices/{}/revoke", agent.host)).send().await?).await
}

async fn status(admin: &Api, agent: &Agent) -> Result<Revocation> {
    admin.read(&format!("/api/devices/{}/revocation", agent.host)).await
}

async fn quarantined(client: &Client, project: Uuid) -> Result<i64> {
    Ok(invariants::check(client, project).await?.quarantined)
}

async fn an_address_is_free_after_all_acknowledge(curve: &str) -> Result<()> {
    let stack = Stack::start_on(Cluster::shared().await?.database().await?, curve).await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let bad = enrolled(&stack, "bad").await?;
    let [one, two, three] =
        [enrolled(&stack, "one").await?, enrolled(&stack, "two").await?, enrolled(&stack, "three").await?];
    let begun = revoke(&admin, &bad).await?;
    assert_eq!((begun.members, begun.acknowledged), (3, 0));
    assert_eq!(begun.missing, ["one", "three", "two"]);
    let mut names: Vec<String> = Vec::new();
    for certificate in bad.certificates()? {
        names.push(hex::encode(certificate.fingerprint()));
        names.extend(certificate.alternate_fingerprint().map(hex::encode));
    }
    assert_eq!(names.len(), if curve == "P256" { 4 } else { 2 });
    names.sort();

    let mut members = Vec::new();
    for agent in [one, two, three] {
        assert_eq!(agent.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoConfigUpdate");
        let next = agent.fetch("DoConfigUpdate").await?;
        let mut blocked = next.blocklist()?;
        blocked.sort();
        assert_eq!(blocked, names);
        members.push(next);
    }
    // A sent configuration is not acknowledged; a call with the new counter acknowledges it.
    assert_eq!(status(&admin, &bad).await?.acknowledged, 0);
    for (at, agent) in members.iter().enumerate() {
        assert_eq!(quarantined(&database, stack.project).await?, 1, "not yet");
        assert_eq!(status(&admin, &bad).await?.acknowledged, i64::try_from(at)?);
        assert!(!agent.update_available().await?);
    }
    let done = status(&admin, &bad).await?;
    assert_eq!((done.acknowledged, done.missing.len()), (3, 0));
    assert!(done.revoked_everywhere_at.is_some());
    assert_eq!(quarantined(&database, stack.project).await?, 0, "free at last");
    let next = enrolled(&stack, "next").await?;
    assert_eq!(next.seen["host"]["ipAddress"], bad.seen["host"]["ipAddress"]);
    assert_eq!(next.blocklist()?.len(), names.len(), "until they expire");
    let problems = number(&database, "SELECT count(*) FROM nebula.check_pool()").await?;
    assert_eq!(problems, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_free_after_all_acknowledge_on_curve25519() -> Result<()> {
    an_address_is_free_after_all_acknowledge("25519").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_free_after_all_acknowledge_on_p256() -> Result<()> {
    an_address_is_free_after_all_acknowledge("P256").await
}

/// Of two concurrent last acknowledgements one must see the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_last_acknowledgements_free_the_address() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut members = vec![enrolled(&stack, "one").await?, enrolled(&stack, "two").await?];
    for round in 0..rounds(10, 200) {
        let bad = enrolled(&stack, &format!("bad{round}")).await?;
        revoke(&admin, &bad).await?;
        for agent in &mut members {
            *agent = agent.fetch("DoConfigUpdate").await?;
        }
        let (a, b) = futures::join!(members[0].update_available(), members[1].update_available());
        assert!(!a? && !b?);
        assert!(status(&admin, &bad).await?.revoked_everywhere_at.is_some(), "round {round}");
        assert_eq!(quarantined(&database, stack.project).await?, 0);
    }
    Ok(())
}

/// Many members fetch and acknowledge at once while others are revoked: no call is refused, and the last
/// acknowledgement frees the address.
#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_acknowledgements_free_the_address() -> Result<()> {
    let count = rounds(60, 1000);
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    database.execute("SELECT nebula.populate_pool($1, '10.99.64.0/18', 'more')", &[&stack.project]).await?;
    let wanted = EnrolmentRequest { uses: Some(i32::try_from(count)?), ..host(stack.project) };
    let made = code(&admin, &wanted).await?;
    let (http, url, typed) = (reqwest::Client::new(), stack.url(), made.code);
    let begun = Instant::now();
    let members: Vec<Agent> = stream::iter(0..count)
        .map(|_| Agent::enroll_by(http.clone(), &url, &typed))
        .buffer_unordered(32)
        .try_collect()
        .await?;
    let enrolled_in = begun.elapsed();
    let bad = [enrolled(&stack, "bad1").await?, enrolled(&stack, "bad2").await?];

    let begun = Instant::now();
    let follow =
        stream::iter(members.into_iter().map(Ok)).try_for_each_concurrent(None, async |agent: Agent| {
            // Repeated until both are on its blocklist; a 503 of a busy gateway is retried, as an agent does.
            let mut agent = agent;
            while agent.blocklist()?.len() < 4 {
                let (status, answer) = agent
                    .send(&agent.request("LongPollWait", &json!({ "supportedActions": ["DoConfigUpdate"] }))?)
                    .await?;
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
                ensure!(status == StatusCode::OK, "{status}: {answer}");
                if answer["data"]["action"] == "DoConfigUpdate"
                    && let Ok(next) = agent.fetch("DoConfigUpdate").await
                {
                    agent = next;
                }
            }
            // The version may be older than the contents; then the configuration is offered once more.
            while agent.update_available().await.unwrap_or(true) {
                if let Ok(next) = agent.fetch("DoConfigUpdate").await {
                    agent = next;
                }
            }
            anyhow::Ok(())
        });
    let revoke_both = async {
        for one in &bad {
            revoke(&admin, one).await?;
        }
        anyhow::Ok(())
    };
    let (followed, revoked) = futures::join!(follow, revoke_both);
    followed.and(revoked)?;
    let took = begun.elapsed();
    for one in &bad {
        let done = status(&admin, one).await?;
        assert_eq!((done.members, done.acknowledged), (count as i64, count as i64));
        assert!(done.revoked_everywhere_at.is_some(), "{:?}", done.missing);
    }
    assert_eq!(quarantined(&database, stack.project).await?, 0);
    println!(
        "{count} agents enrolled within {enrolled_in:?} and acknowledged two revocations within {took:?}"
    );
    Ok(())
}

/// An acknowledgement covers one configuration, not later revocations.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_does_not_cover_later_revocations() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let [first, second] = [enrolled(&stack, "first").await?, enrolled(&stack, "second").await?];
    let member = enrolled(&stack, "member").await?;
    revoke(&admin, &first).await?;
    let member = member.fetch("DoConfigUpdate").await?;
    revoke(&admin, &second).await?;
    assert!(member.update_available().await?);
    assert!(status(&admin, &first).await?.revoked_everywhere_at.is_some());
    let waiting = status(&admin, &second).await?;
    assert_eq!((waiting.acknowledged, waiting.missing), (0, vec!["member".to_owned()]));
    assert_eq!(waiting.revoked_everywhere_at, None);
    assert_eq!(quarantined(&database, stack.project).await?, 1);
    Ok(())
}

/// A member without an agent never acknowledges; the address stays blocked until that member's certificate
/// has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_an_agent_blocks_the_address_until_its_certificate_expires() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let silent = RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: "silent".into(),
        public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    admin.register(&silent).await?;
    let bad = enrolled(&stack, "bad").await?;
    let member = enrolled(&stack, "member").await?;
    revoke(&admin, &bad).await?;
    let member = member.fetch("DoConfigUpdate").await?;
    assert!(!member.update_available().await?);
    let waiting = status(&admin, &bad).await?;
    assert_eq!((waiting.acknowledged, waiting.missing), (1, vec!["silent".to_owned()]));
    assert_eq!(quarantined(&database, stack.project).await?, 1);
    // The certificate expires; the background worker or the next call finds that no acknowledgement is
    // missing.
    database
        .execute(
            "UPDATE nebula.certificate SET not_before = now() - interval '2 h', not_after = now() -
              interval '1 s' WHERE device_id = $1",
            &[&silent.device_id],
        )
        .await?;
    database.execute("SELECT nebula.maintain_revocations()", &[]).await?;
    assert!(status(&admin, &bad).await?.revoked_everywhere_at.is_some());
    assert_eq!(quarantined(&database, stack.project).await?, 0);
    Ok(())
}

/// A lost key: the device gets another key and certificate, and keeps its address.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_replaced() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let (agent, other) = (enrolled(&stack, "laptop").await?, enrolled(&stack, "phone").await?);
    let [first, second]: [_; 2] = agent.certificates()?.try_into().unwrap();
    let path = format!("/api/certificates/{}/revoke", hex::encode(second.fingerprint()));
    let begun: Revocation = data(admin.post(&path).send().await?).await?;
    assert_eq!(begun.fingerprints.len(), 2, "whoever has the key has both");
    assert!(begun.fingerprints.contains(&hex::encode(first.fingerprint())));
    let refused = admin.refused_post(&path.replace("/revoke", "0/revoke"), &Value::Null).await?;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);

    assert_eq!(agent.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoUpdate");
    let agent = agent.fetch("DoUpdate").await?;
    assert_eq!(agent.seen["host"]["ipAddress"], "10.99.0.1");
    assert_eq!(agent.blocklist()?.len(), 2);
    assert!(!agent.update_available().await?);
    let other = other.fetch("DoConfigUpdate").await?;
    assert!(!other.update_available().await?);
    assert!(status(&admin, &agent).await?.revoked_everywhere_at.is_some());
    let member = stack.member("anna").await?;
    let refused = member.refused_post(&format!("/api/devices/{}/revoke", agent.host), &Value::Null).await?;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    Ok(())
}

/// An administrator's SQL in psql, without a gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_by_plain_sql_is_effective() -> Result<()> {
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let (bad, member) = (enrolled(&stack, "bad").await?, enrolled(&stack, "member").await?);
    assert!(!member.update_available().await?);
    let id: Uuid = bad.host.parse()?;
    database.execute("UPDATE nebula.certificate SET revoked_at = now() WHERE device_id = $1", &[&id]).await?;
    assert!(member.update_available().await?);
    let member = member.fetch("DoConfigUpdate").await?;
    assert_eq!(member.blocklist()?.len(), 2);
    Ok(())
}
