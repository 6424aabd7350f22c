//! Requests with `wait`: their answer comes when the node has applied or refused the change, or did not answer
//! in time. An address is never free before the node has confirmed that its peer is gone.

use anyhow::{Context, Result, ensure};
use nebula_api::peer::{Peer, PeerResult, PeerState};
use nebula_tests::api::{Api, Refusal, data, refusal};
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_postgres::Client;
use uuid::Uuid;

use super::fake_node::{FakeNode, key};
use crate::dnapi::number;

/// Asks for one peer.
async fn create(stack: &Stack, api: &Api, name: &str, wait: u32) -> Result<Response> {
    let peers = json!([{ "name": name, "publicKey": key() }]);
    let body = json!({ "projectId": stack.project, "peers": peers, "wait": wait });
    Ok(api.post("/api/peers").json(&body).send().await?)
}

/// One peer that must be created.
async fn created(stack: &Stack, api: &Api, name: &str, wait: u32) -> Result<Peer> {
    let results: Vec<PeerResult> = data(create(stack, api, name, wait).await?).await?;
    let result = results.into_iter().next().context("no result")?;
    result.peer.with_context(|| format!("{:?}", result.error))
}

async fn listed(api: &Api, name: &str) -> Result<Option<Peer>> {
    let peers: Vec<Peer> = api.read("/api/peers").await?;
    Ok(peers.into_iter().find(|peer| peer.name == name))
}

/// Seats taken, and addresses held by peers.
async fn held(database: &Client) -> Result<(i64, i64)> {
    let seats = number(database, "SELECT sum(active_peers) FROM nebula.node").await?;
    let addresses = "SELECT count(*) FROM nebula.allocation a JOIN nebula.pool p USING (pool_id)
                      WHERE p.purpose = 'peer'";
    Ok((seats, number(database, addresses).await?))
}

fn assert_withdrawn(refused: &Refusal, sqlstate: &str, words: &str) {
    assert_eq!(
        (refused.status, refused.failure.sqlstate.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, sqlstate),
        "{refused:?}"
    );
    assert!(refused.failure.detail.contains(words) && refused.failure.hint.is_some(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_active_when_the_node_has_applied_it() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let node = FakeNode::new(&stack, &admin, "a").await?;
    let public_key = node.public_key()?.to_owned();
    let agent = node.follow();
    let peer = created(&stack, &admin, "phone", 50).await?;
    assert_eq!((peer.state, peer.node.as_deref()), (PeerState::Active, Some("a")));
    assert!(!peer.addresses.is_empty());
    assert_eq!(listed(&admin, "phone").await?.context("not listed")?.state, PeerState::Active);
    let config: Value = admin.read(&format!("/api/peers/{}/config", peer.peer_id)).await?;
    let text = config["conf"].as_str().context("no conf")?;
    for wanted in
        ["PrivateKey = <private key>", "Endpoint = a.example:51820", &public_key, &peer.addresses[0]]
    {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    ensure!(!agent.is_finished(), "{:?}", agent.await);
    agent.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_the_node_refuses_is_withdrawn_with_its_reason() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    let request = create(&stack, &admin, "phone", 50);
    let refuse = async {
        eventually("the peer", || listed(&admin, "phone")).await?;
        node.refuse("port 51820 is taken").await
    };
    let (answer, refused) = tokio::join!(request, refuse);
    refused?;
    assert_withdrawn(&refusal(answer?).await?, "55000", "node \"a\" refused it: port 51820 is taken");
    let (seats, addresses) = held(&database).await?;
    assert!(seats == 1 && addresses >= 1, "the node may have it: {seats} seats, {addresses} addresses");
    node.settle().await?;
    assert_eq!(held(&database).await?, (0, 0));
    assert_eq!((node.peers(), listed(&admin, "phone").await?.is_none()), (vec![], true));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_the_peer_is_withdrawn_and_its_address_kept_until_the_node_knows() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    // The answer of the node is lost: it has applied the peer, and the gateway does not know.
    let request = create(&stack, &admin, "phone", 3);
    let apply = async {
        eventually("the peer", || listed(&admin, "phone")).await?;
        let state = node.ask(&node.report(0)).await?;
        node.apply(&state)
    };
    let (answer, applied) = tokio::join!(request, apply);
    assert!(applied?, "the node has it");
    assert_withdrawn(&refusal(answer?).await?, "53000", "node \"a\" did not confirm it within 3 s");
    let lost = node.peers();
    assert_eq!(lost.len(), 1);
    let address = node.peer(lost[0]).context("no peer")?["allowedIps"][0].clone();
    assert_eq!(held(&database).await?.0, 1);

    // Nobody gets the address while the node may still serve it to the lost peer.
    let other = created(&stack, &admin, "tablet", 0).await?;
    let others: Vec<_> = other.addresses.iter().map(|one| json!(format!("{one}/32"))).collect();
    assert!(!others.contains(&address), "{address} was given out twice");
    node.settle().await?;
    assert_eq!(node.peers(), [other.peer_id]);
    assert_eq!(held(&database).await?.0, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_undecided() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    let body = json!({ "projectId": stack.project, "wait": 1,
                       "peers": [{ "name": "phone", "publicKey": key() }] });
    let (body, place) = (body.to_string(), stack.url().trim_start_matches("http://").to_owned());
    let mut connection = TcpStream::connect(&place).await?;
    let head = format!(
        "POST /api/peers HTTP/1.1\r\nHost: {place}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        admin.tokens.access_token,
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).await?;
    eventually("the peer", || listed(&admin, "phone")).await?;
    drop(connection);
    let withdrawn = "SELECT count(*) FROM nebula.placement WHERE wanted = 'absent'";
    eventually("the peer to be withdrawn", || async {
        Ok((number(&database, withdrawn).await? == 1).then_some(()))
    })
    .await?;
    node.settle().await?;
    assert_eq!((node.peers(), held(&database).await?), (vec![], (0, 0)));
    Ok(())
}

/// Asks to move one peer.
async fn move_to(admin: &Api, peer: Uuid, strategy: &str, wait: u32) -> Result<Response> {
    let body = json!({ "peerIds": [peer], "strategy": strategy, "wait": wait });
    Ok(admin.post("/api/peers/move").json(&body).send().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_stays_where_it_is_until_it_has_been_seen_on_the_other_node() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut a = FakeNode::new(&stack, &admin, "a").await?;
    let peer = created(&stack, &admin, "phone", 0).await?;
    a.settle().await?;
    let mut b = FakeNode::new(&stack, &admin, "b").await?;

    // The other node does not answer: withdrawn there, untouched here.
    let refused = refusal(move_to(&admin, peer.peer_id, "name:b", 1).await?).await?;
    assert_withdrawn(&refused, "53000", "node \"b\" did not confirm it within 1 s");
    let now = listed(&admin, "phone").await?.context("not listed")?;
    assert_eq!((now.state, now.node.as_deref()), (PeerState::Active, Some("a")));
    b.settle().await?;
    assert!(b.peers().is_empty());
    assert_eq!(held(&database).await?.0, 1);

    let agent = b.clone().follow();
    let results: Vec<PeerResult> = data(move_to(&admin, peer.peer_id, "name:b", 50).await?).await?;
    agent.abort();
    let moving = results[0].peer.as_ref().context("no peer")?;
    assert_eq!((moving.state, moving.node.as_deref()), (PeerState::Moving, Some("a")));
    assert_eq!(moving.moving_to.as_deref(), Some("b"));
    b.settle().await?;
    a.settle().await?;
    assert_eq!((a.peers(), b.peers()), (vec![peer.peer_id], vec![peer.peer_id]));

    b.see(peer.peer_id).await?;
    let now = listed(&admin, "phone").await?.context("not listed")?;
    assert_eq!((now.state, now.node.as_deref()), (PeerState::Active, Some("b")));
    assert!(now.handshake_at.is_some() && now.received_bytes == 148, "{now:?}");
    a.settle().await?;
    assert_eq!((a.peers(), held(&database).await?.0), (vec![], 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_waits_ends_when_the_node_has_confirmed_it() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    let [phone, tablet] =
        [created(&stack, &admin, "phone", 0).await?, created(&stack, &admin, "tablet", 0).await?];
    node.settle().await?;
    let body = |peer: Uuid, wait: u32| json!({ "peerIds": [peer], "wait": wait });
    let post = |body: Value| admin.post("/api/peers/remove").json(&body).send();
    let results: Vec<PeerResult> = data(post(body(phone.peer_id, 1)).await?).await?;
    let leaving = results[0].peer.as_ref().context("it is gone without the node's word")?;
    assert_eq!((leaving.state, held(&database).await?.0), (PeerState::Leaving, 2));
    let agent = node.clone().follow();
    let results: Vec<PeerResult> = data(post(body(tablet.peer_id, 50)).await?).await?;
    agent.abort();
    assert!(results[0].peer.is_none() && results[0].error.is_none(), "{results:?}");
    assert_eq!(held(&database).await?, (0, 0));
    Ok(())
}
