//! Agents, gateway and links of nodes fail while calls are under way; afterwards what is wanted, applied and
//! allocated agrees.

use std::time::Duration;

use anyhow::{Context, Result};
use nebula_api::peer::Peer;
use nebula_tests::api::{Api, refusal};
use nebula_tests::rounds;
use nebula_tests::wireguard::KeyPair;
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::field::{Field, NODES};

/// Seats of a node.
const SEATS: &str = "SELECT active_peers::bigint FROM nebula.node WHERE name = $1";

/// A new peer as a call names it.
fn item(name: &str) -> Result<Value> {
    Ok(
        json!({ "name": name, "publicKey": KeyPair::generate()?.public, "preshared": rand::rng().random::<bool>() }),
    )
}

fn items(name: &str, count: usize) -> Result<Vec<Value>> {
    (0..count).map(|number| item(&format!("{name} {number}"))).collect()
}

async fn seats(field: &Field, node: &str) -> Result<i64> {
    Ok(field.database.query_one(SEATS, &[&node]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_that_is_cut_off_cannot_confirm_is_held_and_taken_back() -> Result<()> {
    let mut field = Field::new().await?;
    let made = field.create(&items("kept", 2)?, "name:a", 50).await?;
    let kept: Vec<Uuid> = made.into_iter().filter_map(|result| Some(result.peer?.peer_id)).collect();
    field.world.look("c").cut(true)?;

    // One and many: the caller is told that the node does not answer; seats and addresses stay held.
    for (count, held) in [(1, 1), (3, 4)] {
        let body = field.new_peers(&items(&format!("lost {count}"), count)?, "name:c", 2);
        let refused = refusal(field.api.post("/api/peers").json(&body).send().await?).await?;
        assert_eq!(refused.status.as_u16(), 503, "{refused:?}");
        assert_eq!(seats(&field, "c").await?, held);
    }
    // Peers that cannot move there stay where they are.
    let body = json!({ "peerIds": kept, "strategy": "name:c", "wait": 2 });
    let refused = refusal(field.api.post("/api/peers/move").json(&body).send().await?).await?;
    assert_eq!((refused.status.as_u16(), seats(&field, "c").await?), (503, 6), "{refused:?}");
    for peer in field.api.read::<Vec<Peer>>("/api/peers").await? {
        let at = (peer.node.as_deref(), peer.moving_to.as_deref());
        let stays = kept.contains(&peer.peer_id);
        assert!(if stays { at == (Some("a"), None) } else { at.0 == Some("c") }, "{peer:?}");
    }
    // The caller never learns of a peer whose gateway was killed; it is withdrawn at its deadline.
    let call = {
        let (api, body) = (field.api.clone(), field.new_peers(&items("unknown", 1)?, "name:c", 50));
        tokio::spawn(async move { api.post("/api/peers").json(&body).send().await })
    };
    let sql = "SELECT 7 - count(*) FROM nebula.placement JOIN nebula.node_interface USING (interface_id)
                 JOIN nebula.node n USING (node_id) WHERE n.name = 'c'";
    field.settled("the call to wait", sql).await?;
    field.world.stack.kill_gateway()?;
    assert!(call.await?.is_err(), "no answer");
    field.world.stack.start_gateway().await?;
    let expire = "UPDATE nebula.placement SET deadline = now() - interval '2 s' WHERE deadline IS NOT NULL AND wanted = 'present'";
    assert_eq!(field.database.execute(expire, &[]).await?, 1);
    let withdrawn = "SELECT count(*) FROM nebula.placement WHERE deadline IS NOT NULL AND wanted = 'present'";
    field.database.execute("SELECT nebula.maintain_peers()", &[]).await?;
    field.settled("the deadline", withdrawn).await?;
    assert_eq!(seats(&field, "c").await?, 7);

    field.world.look("c").cut(false)?;
    field.agrees().await?;
    assert_eq!(seats(&field, "c").await?, 0);
    let left: Vec<Peer> = field.api.read("/api/peers").await?;
    assert_eq!(left.len(), kept.len(), "{left:?}");
    Ok(())
}

/// A fault of one round.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Agent(&'static str),
    Link(&'static str),
    Gateway,
}

impl Fault {
    fn random(round: usize) -> Self {
        let node = *NODES.choose(&mut rand::rng()).unwrap_or(&NODES[0]);
        match round % 3 {
            0 => Self::Agent(node),
            1 => Self::Gateway,
            _ => Self::Link(node),
        }
    }

    fn begin(self, field: &mut Field) -> Result<()> {
        match self {
            Self::Agent(node) => field.world.device(node).kill(),
            Self::Link(node) => field.world.look(node).cut(true),
            Self::Gateway => field.world.stack.kill_gateway(),
        }
    }

    async fn end(self, field: &mut Field) -> Result<()> {
        match self {
            Self::Agent(node) => field.world.device(node).start(),
            Self::Link(node) => field.world.look(node).cut(false),
            Self::Gateway => field.world.stack.start_gateway().await,
        }
    }
}

/// A call of this kind; it may be refused, and its answer may get lost.
async fn call(api: Api, kind: usize, peers: Vec<Uuid>, new: Value) -> Result<()> {
    if kind == 4 {
        let (Some(peer), disabled) = (peers.first(), rand::rng().random::<bool>()) else { return Ok(()) };
        let body = json!({ "disabled": disabled });
        drop(api.patch(&format!("/api/peers/{peer}")).json(&body).send().await?.bytes().await?);
        return Ok(());
    }
    let target = format!("name:{}", NODES.choose(&mut rand::rng()).unwrap_or(&NODES[0]));
    let wait = rand::rng().random_range(0..3);
    let (path, body) = match kind {
        0 => ("/api/peers", new),
        1 => ("/api/peers/move", json!({ "peerIds": peers.get(..1), "strategy": target, "wait": wait })),
        2 => ("/api/peers/move", json!({ "peerIds": peers, "strategy": "auto" })),
        _ => ("/api/peers/remove", json!({ "peerIds": peers.get(..2) })),
    };
    drop(api.post(path).json(&body).send().await?.bytes().await?);
    Ok(())
}

impl Field {
    /// Ends the move of some peer, if one moves.
    async fn cancel_a_move(&self) -> Result<()> {
        let sql = "SELECT nebula.cancel_move(peer_id) FROM (SELECT peer_id FROM nebula.placement
                                                            WHERE role = 'target' ORDER BY random() LIMIT 1) p";
        // It may be removed at the same time.
        match self.database.execute(sql, &[]).await {
            Err(error) if error.code().is_none_or(|code| !["55000", "P0002"].contains(&code.code())) => {
                Err(error).context("a move could not be cancelled")
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_gateway_and_links_that_fail_during_calls_leave_nothing_behind() -> Result<()> {
    let mut field = Field::new().await?;
    field.create(&items("first", 6)?, "auto", 0).await?;
    for round in 0..rounds(6, 50) {
        let mut peers: Vec<Uuid> =
            field.api.read::<Vec<Peer>>("/api/peers").await?.iter().map(|peer| peer.peer_id).collect();
        let mut calls = Vec::new();
        for number in 0..3 {
            peers.shuffle(&mut rand::rng());
            let wait = rand::rng().random_range(0..3);
            let new = field.new_peers(&items(&format!("round {round} {number}"), 3)?, "auto", wait);
            calls.push(call(field.api.clone(), (round + 2 * number) % 5, peers.clone(), new));
        }
        let under_fault = calls.pop().context("no call")?;
        let mut calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
        // At any moment of the calls.
        sleep(Duration::from_millis(rand::rng().random_range(0..300))).await;
        let fault = Fault::random(round);
        println!("round {round}: {fault:?}");
        fault.begin(&mut field)?;
        calls.push(tokio::spawn(under_fault));
        for call in calls {
            // The answer of a gateway that was killed is lost.
            drop(call.await?);
        }
        field.cancel_a_move().await?;
        fault.end(&mut field).await?;
    }
    // Moves that nobody completes would stay open.
    field
        .database
        .batch_execute("SELECT nebula.remove_peer(peer_id) FROM nebula.placement WHERE role = 'target'")
        .await?;
    field.agrees().await
}
