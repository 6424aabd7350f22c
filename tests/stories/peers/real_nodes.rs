//! Peers that were brought up by the `.conf` that they were handed reach the overlay, move, and reach no more than
//! the rules allow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nebula_api::peer::{Peer, PeerResult};
use nebula_tests::api::data;
use nebula_tests::binary::run;
use nebula_tests::device::Device;
use nebula_tests::eventually;
use nebula_tests::wireguard::Pings;
use serde_json::{Value, json};

use super::field::{Field, NODES, OnHost, is_greeted};

/// A service on the laptop.
const PORT: &str = "5201";
/// A service of a node.
const NODE_PORT: &str = "5202";
/// A service of a peer.
const PEER_PORT: &str = "5203";
/// An address of a node outside of overlay and pools, on its LAN.
const LAN: &str = "192.168.77.7";
/// A node that is told nothing learns of a change with its next report, after up to 30 s.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Outage of a peer that moves while it sends packets.
const MOVE_LIMIT: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread")]
async fn peers_reach_the_overlay_by_their_own_conf_and_move_while_they_talk() -> Result<()> {
    let field = Field::new().await?;
    let peers = field.peers().await?;
    let count = |node: &str| peers.iter().filter(|one| one.peer.node.as_deref() == Some(node)).count();
    let spread = NODES.map(count);
    assert!(spread.iter().all(|peers| (3..=4).contains(peers)), "{spread:?}");

    // To the laptop and back.
    let laptop = field.world.look("laptop");
    for one in &peers {
        field.pings(&one.client, &laptop.address).await?;
        let ping =
            |laptop: &Device| run(laptop.inside("ping").args(["-c", "1", "-W", "1", &one.peer.addresses[0]]));
        eventually("the laptop to reach a peer", || async { Ok(ping(laptop).ok()) })
            .await
            .with_context(|| field.logs())?;
    }
    let node = Served::of(&field, &peers[1]).await?;
    let _service = field.greeter(&field.world.look(&node.name).namespace, NODE_PORT).await?;
    services(&field, &peers[1], &node).await?;
    groups(&field, &peers, &node).await?;
    moves(&field, &peers[0]).await?;
    field.agrees().await?;
    regroups(&field, &peers[2]).await
}

/// The node of a peer, and its own address there.
struct Served {
    name: String,
    address: String,
}

impl Served {
    async fn of(field: &Field, one: &OnHost) -> Result<Self> {
        let name = one.peer.node.clone().context("no node")?;
        let sql = "SELECT host(l.gateway) FROM nebula.pool l JOIN nebula.node_interface USING (interface_id)
                     JOIN nebula.node n USING (node_id) WHERE n.name = $1 AND family(l.cidr) = 4";
        let address = field.database.query_one(sql, &[&name]).await?.get(0);
        Ok(Self { name, address })
    }

    /// Packets that ended on the node and were dropped.
    fn dropped(&self, field: &Field) -> Result<u64> {
        let list = ["list", "chain", "inet", "nebulactl-node-wg0", "input"];
        let chain = run(field.world.look(&self.name).inside("nft").args(list))?;
        let last = chain.lines().rfind(|line| line.ends_with("drop")).context(chain.clone())?;
        let packets = last.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.context("no counter")?.parse().context("no number")
    }
}

/// A peer that routes an address of its node's LAN into its tunnel gets no answer from there; the node's address on
/// the interface is open as the project is.
async fn services(field: &Field, one: &OnHost, node: &Served) -> Result<()> {
    let device = field.world.look(&node.name);
    run(device.inside("ip").args(["address", "add", LAN, "dev", "lo"]))?;
    assert!(is_greeted(device.inside("timeout"), LAN, NODE_PORT), "the service is on all addresses");
    let (name, conf) = field.conf(&one.peer, &one.keys).await?;
    one.client.take_over(&conf.replace("AllowedIPs = ", &format!("AllowedIPs = {LAN}/32, ")))?;
    run(one.client.inside("ip").args(["route", "add", LAN, "dev", &name]))?;
    eventually("an open project's peer to reach a service of its node", || async {
        Ok(is_greeted(one.client.inside("timeout"), &node.address, NODE_PORT).then_some(()))
    })
    .await
    .with_context(|| field.logs())?;
    let before = node.dropped(field)?;
    assert!(!is_greeted(one.client.inside("timeout"), LAN, NODE_PORT));
    assert!(!one.client.pings(LAN));
    assert!(node.dropped(field)? > before, "the packets came to the node");
    Ok(())
}

/// A rule for a group lets its peers in, and no others.
async fn groups(field: &Field, peers: &[OnHost], node: &Served) -> Result<()> {
    let laptop = field.world.look("laptop");
    let _greeter = field.greeter(&laptop.namespace, PORT).await?;
    let greeted = |one: &OnHost| is_greeted(one.client.inside("timeout"), &laptop.address, PORT);
    let ctl = |arguments: &[&str]| run(field.world.stack.ctl()?.args(arguments));
    eventually("the service", || async { Ok(greeted(&peers[1]).then_some(())) }).await?;
    ctl(&["rule", "add", "inbound", "--protocol", "tcp", "--port", PORT, "--peer-group", "family"])?;
    ctl(&["project", "options", "inbound=closed"])?;
    for (member, stranger) in [(&peers[0], &peers[1]), (&peers[2], &peers[3])] {
        let kept_out = eventually("a peer without the group to be kept out", || async {
            Ok((!greeted(stranger)).then_some(()))
        });
        kept_out.await.with_context(|| field.logs())?;
        let let_in =
            eventually("a peer of the group to be let in", || async { Ok(greeted(member).then_some(())) });
        let_in.await.with_context(|| field.logs())?;
        assert!(!greeted(stranger));
    }
    let own = || is_greeted(peers[1].client.inside("timeout"), &node.address, NODE_PORT);
    assert!(!own(), "a service of the node, in a closed project");
    field.pings(&peers[1].client, &node.address).await
}

/// A peer moves while it pings: it is given its new `.conf`, and routes follow its first handshake there.
async fn moves(field: &Field, one: &OnHost) -> Result<()> {
    let from = one.peer.node.clone().context("no node")?;
    let to = NODES.into_iter().find(|node| *node != from).context("no other")?;
    let laptop = &field.world.look("laptop").address;
    let dense = Pings::start(one.client.inside("ping"), laptop, "0.02")?;
    let sparse = Pings::start(one.client.inside("ping"), laptop, "1")?;
    let body = json!({ "peerIds": [one.peer.peer_id], "strategy": format!("name:{to}"), "wait": 50 });
    let moved: Vec<PeerResult> = data(field.api.post("/api/peers/move").json(&body).send().await?).await?;
    let peer = moved.into_iter().next().and_then(|result| result.peer).context("not moved")?;
    assert_eq!((peer.moving_to.as_deref(), &peer.addresses), (Some(to), &one.peer.addresses));
    let (_, conf) = field.conf(&peer, &one.keys).await?;
    one.client.take_over(&conf)?;
    let arrived = eventually("the peer to be served there", || async {
        let peers: Vec<Peer> = field.api.read("/api/peers").await?;
        let now = peers.into_iter().find(|peer| peer.peer_id == one.peer.peer_id).context("gone")?;
        Ok((now.node.as_deref() == Some(to) && now.moving_to.is_none()).then_some(()))
    });
    arrived.await.with_context(|| field.logs())?;
    field.pings(&one.client, laptop).await?;
    let (sent, came) = dense.end()?;
    let lost = Duration::from_millis(20 * (sent - came) as u64);
    println!("moved while it pinged: {} of {sent} pings lost, {lost:?}", sent - came);
    assert!(lost < MOVE_LIMIT, "{} of {sent}: {}", sent - came, field.logs());
    let (sent, came) = sparse.end()?;
    assert!(sent - came <= 2, "of {sent} pings, one a second, {came} came back");
    Ok(())
}

/// A rule between groups follows its members at once: a device that joins a group reaches its peers, one that
/// leaves it or is revoked does not.
async fn regroups(field: &Field, one: &OnHost) -> Result<()> {
    let laptop = field.world.look("laptop");
    let _greeter = field.greeter(&one.namespace, PEER_PORT).await?;
    let greeted = || is_greeted(laptop.inside("timeout"), &one.peer.addresses[0], PEER_PORT);
    let rule = ["--protocol", "tcp", "--port", PEER_PORT, "--for-group", "family", "--peer-group", "office"];
    run(field.world.stack.ctl()?.args(["rule", "add", "inbound"]).args(rule))?;
    let set = async |groups: &[&str]| {
        let path = format!("/api/devices/{}/groups", laptop.id);
        data::<Value>(field.api.put(&path).json(&json!({ "groups": groups })).send().await?).await
    };
    for (groups, reaches) in [(&["office"][..], true), (&[], false), (&["office"], true)] {
        assert_eq!(greeted(), !reaches);
        set(groups).await?;
        at_once(field, &format!("a device in {groups:?}"), || Ok(greeted() == reaches))?;
    }
    let node = field.world.look(&Served::of(field, one).await?.name);
    let named = || {
        let rules = run(node.inside("nft").args(["list", "table", "inet", "nebulactl-node-wg0"]))?;
        anyhow::Ok(rules.contains(&laptop.address))
    };
    assert!(named()?);
    field.database.execute("SELECT nebula.revoke_device($1::text::uuid)", &[&laptop.id]).await?;
    at_once(field, "a revoked device to be in no rule", || Ok(!named()?))?;
    assert!(!greeted());
    Ok(())
}

/// Looks again and again; the first look that holds must begin soon.
fn at_once(field: &Field, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    loop {
        let waited = begun.elapsed();
        ensure!(waited < AT_ONCE, "{what} took {waited:?}: {}", field.logs());
        if holds()? {
            println!("{what}: after {waited:?}");
            return Ok(());
        }
    }
}
