//! The agent of a node learns of its own peers and of no others, and only its own fresh reports count.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::peer::{Peer, PeerResult, PeerState};
use nebula_tests::api::{Api, data};
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::fake_node::{FakeNode, key};
use crate::dnapi::client::{Agent, error};
use crate::dnapi::{code, enrolled, host, number};

const CONFLICT: StatusCode = StatusCode::CONFLICT;

/// Asks for a peer; answers its result.
async fn create(api: &Api, project: Uuid, peer: Value, strategy: &str) -> Result<PeerResult> {
    let body = json!({ "projectId": project, "strategy": strategy, "peers": [peer] });
    let results: Vec<PeerResult> = data(api.post("/api/peers").json(&body).send().await?).await?;
    results.into_iter().next().context("no result")
}

async fn created(api: &Api, project: Uuid, peer: Value) -> Result<Peer> {
    let result = create(api, project, peer, "auto").await?;
    result.peer.with_context(|| format!("{:?}", result.error))
}

async fn state(api: &Api, peer: Uuid) -> Result<PeerState> {
    let peers: Vec<Peer> = api.read("/api/peers").await?;
    Ok(peers.into_iter().find(|one| one.peer_id == peer).context("not listed")?.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_stale_and_repeated_reports_count_for_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    let phone = created(&admin, stack.project, json!({ "name": "phone", "publicKey": key() })).await?;
    let before = node.report(0);
    let news = node.ask(&before).await?;
    node.apply(&news)?;
    // From here on, every report of the node acknowledges the peer.
    let pending = async || anyhow::Ok(state(&admin, phone.peer_id).await? == PeerState::Pending);

    let stranger = enrolled(&stack, "stranger").await?;
    let mut forged = stranger.clone();
    forged.host.clone_from(&node.agent.host);
    let (status, answer) = forged.send(&forged.request("SyncNode", &node.report(0))?).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "by another device's key: {answer}");

    let skewed = node.agent.skewed(10);
    let (status, answer) = skewed.send(&skewed.request("SyncNode", &node.report(0))?).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a clock that is off: {answer}");

    let stale = node.agent.request("SyncNode", &node.report(0))?;
    let fresh = node.agent.request("SyncNode", &before)?;
    assert_eq!(node.agent.send(&fresh).await?.0, StatusCode::OK);
    for (what, request) in [("older than another", &stale), ("repeated", &fresh)] {
        let (status, answer) = node.agent.send(request).await?;
        assert_eq!((status, error(&answer).0.as_str()), (CONFLICT, "ERR_WRONG_STATE"), "{what}: {answer}");
    }

    node.make_secret(&admin).await?;
    let unsigned = node.agent.request("SyncNode", &node.report(0))?;
    let (status, answer) = node.agent.send(&unsigned).await?;
    assert_eq!(
        (status, error(&answer).0.as_str()),
        (StatusCode::UNAUTHORIZED, "ERR_NODE_SIGNATURE"),
        "without the node's secret"
    );
    assert!(pending().await?, "none of these counted");
    node.settle().await?;
    assert_eq!(state(&admin, phone.peer_id).await?, PeerState::Active);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_node_is_told_to_give_up_interfaces() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let node = FakeNode::new(&stack, &admin, "a").await?;
    let stranger = enrolled(&stack, "stranger").await?;
    let none = json!({ "nonce": BASE64_STANDARD.encode([1; 8]), "interfaces": [] });
    let (status, answer) = stranger.send(&stranger.request("SyncNode", &none)?).await?;
    assert_eq!((status, error(&answer).0.as_str()), (StatusCode::NOT_FOUND, "ERR_NOT_FOUND"));

    // The node is removed while its agent still has an interface.
    let path = format!("/api/nodes/{}?force=true", node.node);
    data::<Value>(admin.delete(&path).send().await?).await?;
    let state = node.ask(&node.report(0)).await?;
    assert_eq!(state["interfaces"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_project_gets_nothing_and_acknowledges_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut own = FakeNode::new(&stack, &admin, "own").await?;
    let other: Uuid =
        database.query_one("SELECT nebula.create_project('other', '10.98.0.0/16')", &[]).await?.get(0);
    database.execute("SELECT nebula.populate_pool($1, '10.98.0.0/24')", &[&other]).await?;
    let code = code(&admin, &host(other)).await?.code;
    let mut foreign = FakeNode::of(Agent::enroll(&stack.url(), &code).await?, &admin, "foreign").await?;

    let phone = created(&admin, stack.project, json!({ "name": "phone", "publicKey": key() })).await?;
    assert_eq!(phone.node.as_deref(), Some("own"));
    let tablet = json!({ "name": "tablet", "publicKey": key() });
    let refused = create(&admin, stack.project, tablet, "name:foreign").await;
    let refused = refused.err().context("a peer on a node of another project")?.to_string();
    assert!(refused.contains("there is no node \\\"foreign\\\""), "{refused}");
    foreign.settle().await?;
    assert!(foreign.peers().is_empty());

    // It reports for an interface that is not its own.
    let wanted = own.ask(&own.report(0)).await?["interfaces"][0].clone();
    let mut report = foreign.report(0);
    let claim = json!({ "interfaceId": wanted["interfaceId"], "generation": wanted["generation"],
                        "publicKey": key(), "seen": [{ "peerId": phone.peer_id, "receivedBytes": 7 }] });
    report["interfaces"].as_array_mut().context("no interfaces")?.push(claim);
    let (_, answer) = foreign.send(&report).await?;
    assert!(!answer.to_string().contains(&phone.public_key), "{answer}");
    assert_eq!(state(&admin, phone.peer_id).await?, PeerState::Pending);
    let told = format!(
        "SELECT count(*) FROM nebula.node_interface WHERE encode(public_key, 'base64') = '{}'",
        own.public_key()?
    );
    assert_eq!(number(&database, &told).await?, 1, "the interface keeps the key that its own agent told");
    own.settle().await?;
    assert_eq!(own.peers(), [phone.peer_id]);
    Ok(())
}

/// Opens a sealed key as the text of `nebula_signature::seal` describes it.
fn open(secret: &str, peer: Uuid, sealed: &Value) -> Result<Vec<u8>> {
    let sealed = BASE64_STANDARD.decode(sealed.as_str().context("no presharedKey")?)?;
    ensure!(sealed.len() == 12 + 32 + 16, "{} bytes", sealed.len());
    let hmac = PKey::hmac(&BASE64_STANDARD.decode(secret)?)?;
    let key = Signer::new(MessageDigest::sha256(), &hmac)?.sign_oneshot_to_vec(b"pg_nebula seal 1")?;
    let (nonce, rest) = sealed.split_at(12);
    let (text, tag) = rest.split_at(32);
    Ok(decrypt_aead(Cipher::aes_256_gcm(), &key, Some(nonce), peer.as_bytes(), text, tag)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preshared_key_is_shown_to_the_node_and_in_the_conf_alone() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    node.make_secret(&admin).await?;
    let peer = json!({ "name": "phone", "publicKey": key(), "preshared": true });
    let phone = created(&admin, stack.project, peer).await?;
    assert!(phone.preshared);
    let news = node.ask(&node.report(0)).await?;
    node.apply(&news)?;
    let secret = node.secret.as_ref().context("no secret")?;
    assert_eq!(news["sealedWith"], json!(secret.key_id));
    let sealed = &node.peer(phone.peer_id).context("no peer")?["presharedKey"];
    let plain = BASE64_STANDARD.encode(open(&secret.secret, phone.peer_id, sealed)?);
    let answer = admin.get(&format!("/api/peers/{}/config", phone.peer_id)).send().await?;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let config = answer.text().await?;
    assert!(config.contains(&plain), "another key");
    let elsewhere = admin.get("/api/peers").send().await?.text().await?;
    let logs = std::fs::read_to_string(stack.log("gateway"))?;
    assert!(!elsewhere.contains(&plain) && !logs.contains(&plain));
    Ok(())
}

async fn one_waits(stack: &Stack) -> Result<()> {
    eventually("a node to wait", || async {
        let text = reqwest::get(format!("{}/metrics", stack.url())).await?.text().await?;
        Ok(text.contains("nebula_nodes_waiting 1\n").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_of_a_node_waits_and_a_change_ends_it() -> Result<()> {
    let mut stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let node = FakeNode::new(&stack, &admin, "a").await?;
    let wait = || {
        let node = node.clone();
        tokio::spawn(async move { node.ask(&node.report(60)).await })
    };
    let earlier = wait();
    one_waits(&stack).await?;
    // The later call ends the earlier one, which may have been cut off.
    let later = wait();
    let (first, still) = match futures::future::select(earlier, later).await {
        futures::future::Either::Left((first, still)) | futures::future::Either::Right((first, still)) => {
            (first, still)
        }
    };
    assert_eq!(first??["interfaces"][0]["peers"], json!([]), "nothing changed");
    let phone = created(&admin, stack.project, json!({ "name": "phone", "publicKey": key() })).await?;
    assert_eq!(still.await??["interfaces"][0]["peers"][0]["peerId"], json!(phone.peer_id));

    // A gateway that stops does not wait for it.
    let mut node = node;
    node.settle().await?;
    let last = node.clone().follow();
    one_waits(&stack).await?;
    assert_eq!(stack.stop_gateway()?, Some(0));
    assert!(last.await?.is_err(), "the next call finds no gateway");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_report_is_taken_and_an_endless_one_is_not() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let node = FakeNode::new(&stack, &admin, "a").await?;
    let mut report = node.report(0);
    let drift = |count: usize| -> Value {
        (0..count)
            .map(|_| json!({ "publicKey": key(), "kind": "unknown", "allowedIps": ["10.1.0.9/32"] }))
            .collect()
    };
    report["interfaces"][0]["drift"] = drift(1000);
    node.ask(&report).await?;
    report["interfaces"][0]["drift"] = drift(8000);
    let (status, answer) = node.send(&report).await?;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    Ok(())
}
