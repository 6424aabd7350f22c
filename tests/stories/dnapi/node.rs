//! Calls of nodes carry a second signature, made with a secret that can be replaced. It is made here from the
//! text of RFC 9421, not with the code that verifies it.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use nebula_api::node::{NewSecret, Node, NodeId, Retired, Secret};
use nebula_tests::api::{Api, data, refusal};
use nebula_tests::stack::Stack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::client::Agent;
use super::enrolled;
use crate::database::admin::report;

const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;

/// A device that reports for a node.
struct Speaker {
    agent: Agent,
    node: Uuid,
    secret: NewSecret,
}

/// How a call is signed.
pub(crate) struct Signature<'a> {
    secret: &'a NewSecret,
    created: i64,
    nonce: String,
}

impl<'a> Signature<'a> {
    pub(crate) fn by(secret: &'a NewSecret) -> Self {
        Self { secret, created: Utc::now().timestamp(), nonce: Uuid::new_v4().to_string() }
    }

    /// The three headers.
    pub(crate) fn headers(&self, body: &str) -> Result<Vec<(&'static str, String)>> {
        let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(body)));
        let parameters = format!(
            "(\"@method\" \"content-digest\" \"@path\");keyid=\"{}\";created={};nonce=\"{}\"",
            self.secret.key_id, self.created, self.nonce
        );
        let base = format!(
            "\"@method\": POST\n\"content-digest\": {digest}\n\
             \"@path\": /v1/dnclient\n\"@signature-params\": {parameters}"
        );
        let key = PKey::hmac(&BASE64_STANDARD.decode(&self.secret.secret)?)?;
        let mac = Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(base.as_bytes())?;
        Ok(vec![
            ("content-digest", digest),
            ("signature-input", format!("gw={parameters}")),
            ("signature", format!("gw=:{}:", BASE64_STANDARD.encode(mac))),
        ])
    }
}

impl Speaker {
    /// Creates a device, a node and a first secret, and ties them together: in this order no call is refused
    /// in between.
    async fn new(stack: &Stack, admin: &Api, name: &str) -> Result<Self> {
        let agent = enrolled(stack, name).await?;
        let wanted = json!({ "name": name, "endpoint": "node.example:51820", "capabilities": ["gpu"] });
        let NodeId { node_id: node } = data(admin.post("/api/nodes").json(&wanted).send().await?).await?;
        let secret = make(admin, node).await?;
        agent.call("CheckForUpdate", &Value::Null).await?;
        let tie = json!({ "deviceId": agent.host });
        data::<Value>(admin.put(&format!("/api/nodes/{node}/device")).json(&tie).send().await?).await?;
        Ok(Self { agent, node, secret })
    }

    fn body(&self) -> Result<String> {
        Ok(self.agent.request("CheckForUpdate", &Value::Null)?.to_string())
    }

    /// Sends a call with this signature; answers its status and message.
    async fn calls(&self, signature: &Signature<'_>) -> Result<(StatusCode, Value)> {
        let body = self.body()?;
        let headers = signature.headers(&body)?;
        self.agent.send_with(body, &headers).await
    }

    async fn is_heard(&self, secret: &NewSecret) -> Result<bool> {
        let (status, answer) = self.calls(&Signature::by(secret)).await?;
        assert!(status == StatusCode::OK || status == REFUSED, "{status}: {answer}");
        Ok(status == StatusCode::OK)
    }

    /// Expects a 401 that names the reason, and an event with the same reason.
    async fn refused(&self, stack: &Stack, answer: (StatusCode, Value), why: &str) -> Result<()> {
        let (status, answer) = answer;
        assert_eq!(
            (status, answer["errors"][0]["code"].as_str()),
            (REFUSED, Some("ERR_NODE_SIGNATURE")),
            "{answer}"
        );
        let said = answer["errors"][0]["message"].as_str().context("no message")?;
        assert!(said.contains(why), "{why}: {said}");
        let client = stack.database.connect().await?;
        let sql =
            "SELECT detail ->> 'reason' FROM nebula.event WHERE action = 'refuse-call' AND subject_id = $1
                    AND client IS NOT NULL AND project_id IS NOT NULL";
        let records = client.query(sql, &[&self.agent.host]).await?;
        assert_eq!(records.len(), 1, "{why}");
        assert!(records[0].get::<_, String>(0).contains(why), "{why}: {}", records[0].get::<_, String>(0));
        Ok(())
    }
}

pub(crate) async fn make(admin: &Api, node: Uuid) -> Result<NewSecret> {
    data(admin.post(&format!("/api/nodes/{node}/secret")).send().await?).await
}

async fn retire(admin: &Api, node: Uuid) -> Result<Retired> {
    data(admin.delete(&format!("/api/nodes/{node}/secret")).send().await?).await
}

async fn node(admin: &Api, name: &str) -> Result<Node> {
    let nodes: Vec<Node> = admin.read("/api/nodes").await?;
    nodes.into_iter().find(|node| node.name == name).context("no such node")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_valid_node_signature_is_refused_and_recorded() -> Result<()> {
    let mut stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let new = async |stack: &Stack, name: &str| Speaker::new(stack, &admin, name).await;

    let unsigned = new(&stack, "unsigned").await?;
    assert!(unsigned.is_heard(&unsigned.secret).await?, "signed it is heard");
    let answer = unsigned.agent.send_with(unsigned.body()?, &[]).await?;
    unsigned.refused(&stack, answer, "no header content-digest").await?;

    let forged = new(&stack, "forged").await?;
    let other = NewSecret { secret: BASE64_STANDARD.encode([7; 32]), ..forged.secret.clone() };
    forged.refused(&stack, forged.calls(&Signature::by(&other)).await?, "not by its secret").await?;

    let stranger = new(&stack, "stranger").await?;
    let answer = stranger.calls(&Signature::by(&forged.secret)).await?;
    stranger.refused(&stack, answer, "no signature by a known key").await?;

    // A valid signature over another body than the one that was sent; the device's own signature is valid,
    // too.
    let altered = new(&stack, "altered").await?;
    let headers = Signature::by(&altered.secret).headers(&altered.body()?)?;
    let answer = altered.agent.send_with(altered.body()?, &headers).await?;
    altered.refused(&stack, answer, "the body is not the one that was signed").await?;

    for (name, seconds) in [("late", -310), ("early", 310)] {
        let stale = new(&stack, name).await?;
        let created = Utc::now().timestamp() + seconds;
        let answer = stale.calls(&Signature { created, ..Signature::by(&stale.secret) }).await?;
        stale.refused(&stack, answer, "signed for its node at").await?;
        let created = Utc::now().timestamp() + seconds - 20 * seconds.signum();
        let (status, _) = stale.calls(&Signature { created, ..Signature::by(&stale.secret) }).await?;
        assert_eq!(status, StatusCode::OK, "{name}: within the tolerance");
    }

    let short = new(&stack, "short").await?;
    let answer = short.calls(&Signature { nonce: "1234".into(), ..Signature::by(&short.secret) }).await?;
    short.refused(&stack, answer, "the nonce must have 16 to 64 characters").await?;

    // The same call byte for byte, at once and through a restarted gateway; and another call with the same
    // nonce.
    let replayed = new(&stack, "replayed").await?;
    let (signature, body) = (Signature::by(&replayed.secret), replayed.body()?);
    let headers = signature.headers(&body)?;
    assert_eq!(replayed.agent.send_with(body.clone(), &headers).await?.0, StatusCode::OK);
    let answer = replayed.agent.send_with(body.clone(), &headers).await?;
    replayed.refused(&stack, answer, "this call was made before").await?;
    stack.stop_gateway()?;
    stack.start_gateway().await?;
    assert_eq!(replayed.agent.send_with(body, &headers).await?.0, REFUSED);
    assert_eq!(replayed.calls(&signature).await?.0, REFUSED);
    assert!(replayed.is_heard(&replayed.secret).await?, "the device itself is not harmed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_secret_is_replaced_without_refused_calls() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let gpu = Speaker::new(&stack, &admin, "gpu").await?;
    let path = format!("/api/nodes/{}/secret", gpu.node);
    let first = gpu.secret.clone();
    assert_eq!(BASE64_STANDARD.decode(&first.secret)?.len(), 32);
    assert_eq!(
        refusal(admin.delete(&path).send().await?).await?.status,
        StatusCode::CONFLICT,
        "the only one"
    );
    let second = make(&admin, gpu.node).await?;
    assert!(gpu.is_heard(&first).await? && gpu.is_heard(&second).await?, "both are good");
    assert_eq!(refusal(admin.post(&path).send().await?).await?.status, StatusCode::CONFLICT, "a third");
    assert_eq!(retire(&admin, gpu.node).await?.key_id, first.key_id, "the older");
    gpu.refused(&stack, gpu.calls(&Signature::by(&first)).await?, "no signature by a known key").await?;
    assert!(gpu.is_heard(&second).await?);
    let third = make(&admin, gpu.node).await?;
    assert_eq!(retire(&admin, gpu.node).await?.key_id, second.key_id, "whichever place it has");
    assert!(!gpu.is_heard(&second).await? && gpu.is_heard(&third).await?);

    // Listed without the secrets; a retired secret is not stored anywhere.
    let listed: Vec<Secret> = admin.read(&path).await?;
    let states: Vec<_> = listed.iter().map(|one| (one.key_id, one.retired_at.is_some())).collect();
    assert_eq!(states, [(third.key_id, false), (second.key_id, true), (first.key_id, true)]);
    assert!(listed.iter().all(|one| one.used_at.is_some() && one.made_by.contains("admin")), "{listed:?}");
    let client = stack.database.connect().await?;
    let left = "SELECT count(*) FROM nebula.node_secret WHERE secret IS NOT NULL";
    assert_eq!(super::number(&client, left).await?, 1);
    let logs = std::fs::read_to_string(stack.log("gateway"))?;
    assert!([first, second, third.clone()].iter().all(|one| !logs.contains(&one.secret)));

    // The last secret is removed only by its name; a node without a secret needs no signature, nor does an
    // untied device.
    let named = format!("{path}?keyId={}", third.key_id);
    data::<Retired>(admin.delete(&named).send().await?).await?;
    assert_eq!(gpu.agent.send_with(gpu.body()?, &[]).await?.0, StatusCode::OK);
    make(&admin, gpu.node).await?;
    assert_eq!(gpu.agent.send_with(gpu.body()?, &[]).await?.0, REFUSED);
    let untie = admin.put(&format!("/api/nodes/{}/device", gpu.node)).json(&json!({ "deviceId": null }));
    data::<Value>(untie.send().await?).await?;
    assert_eq!(gpu.agent.send_with(gpu.body()?, &[]).await?.0, StatusCode::OK);
    Ok(())
}

/// The report of a node's agent decides whether the node is eligible.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_counts_as_a_heartbeat_of_its_node() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let gpu = Speaker::new(&stack, &admin, "gpu").await?;
    let bare = enrolled(&stack, "laptop").await?;
    let chosen = async || {
        let row = database.query_one("SELECT nebula.select_node(capability => 'gpu')", &[]).await;
        row.map(|row| row.get::<_, Uuid>(0)).ok()
    };
    database.execute("UPDATE nebula.node SET seen_at = now() - interval '2 minutes'", &[]).await?;
    assert_eq!(chosen().await, None, "silent");
    let nonce = BASE64_STANDARD.encode(b"0123456789");
    let report = json!({
        "nonce": nonce, "agentVersion": "1",
        "health": { "load": 0.5, "processors": 4, "memoryBytes": 8, "memoryAvailableBytes": 4,
                    "diskBytes": 2, "diskFreeBytes": 1 }
    });
    bare.call("Status", &report).await?;
    assert_eq!(chosen().await, None, "another device's report is none of its");
    let body = gpu.agent.request("Status", &report)?.to_string();
    let headers = Signature::by(&gpu.secret).headers(&body)?;
    let (status, answer) = gpu.agent.send_with(body, &headers).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(chosen().await, Some(gpu.node));
    let listed = node(&admin, "gpu").await?;
    assert!(listed.eligible && listed.seen_at.is_some());
    assert_eq!((listed.device.as_deref(), listed.secrets), (Some("gpu"), 1));
    assert_eq!(listed.health.map(|health| (health.processors, health.disk_free_bytes)), Some((4, 1)));

    // A device reports for one node, which must exist.
    let put = |node: Uuid, device: &str| {
        admin.put(&format!("/api/nodes/{node}/device")).json(&json!({ "deviceId": device })).send()
    };
    let wanted = json!({ "name": "other", "endpoint": "[2001:db8::1]:51820" });
    let other: NodeId = data(admin.post("/api/nodes").json(&wanted).send().await?).await?;
    let refused =
        async |node: Uuid, device: &str| anyhow::Ok(refusal(put(node, device).await?).await?.status);
    assert_eq!(refused(other.node_id, &gpu.agent.host).await?, StatusCode::CONFLICT);
    assert_eq!(refused(Uuid::new_v4(), &bare.host).await?, StatusCode::NOT_FOUND);
    assert_eq!(refused(other.node_id, &Uuid::new_v4().to_string()).await?, StatusCode::NOT_FOUND);
    admin.post(&format!("/api/devices/{}/revoke", bare.host)).send().await?.error_for_status()?;
    assert_eq!(refused(other.node_id, &bare.host).await?, StatusCode::CONFLICT);
    let empty = admin.put(&format!("/api/nodes/{}/device", gpu.node)).json(&json!({})).send().await?;
    assert_eq!(refusal(empty).await?.status, StatusCode::BAD_REQUEST, "nothing is not nobody");
    // Members may not do any of this.
    let anna = stack.member("anna").await?;
    for path in ["/api/nodes".to_owned(), format!("/api/nodes/{}/secret", gpu.node)] {
        assert_eq!(anna.get(&path).send().await?.status(), StatusCode::FORBIDDEN, "{path}");
        let posted = anna.post(&path).json(&wanted).send().await?;
        assert_eq!(posted.status(), StatusCode::FORBIDDEN, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_shows_nodes_and_no_secret() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let [gpu, other] =
        [Speaker::new(&stack, &admin, "gpu").await?, Speaker::new(&stack, &admin, "other").await?];
    let second = make(&admin, gpu.node).await?;
    let nonce = b"0123456789abcdef";
    let body = gpu
        .agent
        .request("Status", &json!({ "nonce": BASE64_STANDARD.encode(nonce), "agentVersion": "1" }))?;
    let headers = Signature::by(&second).headers(&body.to_string())?;
    assert_eq!(gpu.agent.send_with(body.to_string(), &headers).await?.0, StatusCode::OK);
    retire(&admin, gpu.node).await?;
    gpu.refused(&stack, gpu.calls(&Signature::by(&gpu.secret)).await?, "no signature by a known key").await?;

    let shown = report(&stack.database, "nodes.sql", &[]).await?;
    let wanted = [
        "node.example:51820",
        "| gpu ",
        "| 00:00:",
        &second.key_id.to_string(),
        "retired ",
        &gpu.secret.key_id.to_string(),
        "no signature by a known key",
        &other.secret.key_id.to_string(),
    ];
    for wanted in wanted {
        assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
    }
    for secret in [&second, &other.secret] {
        let hex = hex::encode(BASE64_STANDARD.decode(&secret.secret)?);
        assert!(!shown.contains(&secret.secret) && !shown.contains(&hex), "{shown}");
    }
    let one = report(&stack.database, "nodes.sql", &["node=other"]).await?;
    assert!(one.contains("other") && !one.contains("gpu"), "{one}");
    Ok(())
}
