//! Three nodes with real interfaces, and peers that were brought up by the `.conf` that they were handed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nebula_api::peer::{PRIVATE_KEY_PLACEHOLDER, Peer, PeerConfig, PeerResult, PeerState};
use nebula_tests::api::{Api, data, refusal};
use nebula_tests::binary::run;
use nebula_tests::netns::Network;
use nebula_tests::process::Process;
use nebula_tests::wireguard::{Client, KeyPair, Pings, sockets};
use nebula_tests::{eventually, rounds};
use rand::RngExt;
use serde_json::{Value, json};
use tokio_postgres::Client as Database;

use crate::agent::World;

const NODES: [&str; 3] = ["a", "b", "c"];
const PEERS: usize = 10;
/// A service on the laptop.
const PORT: &str = "5201";
/// Greets every caller.
const GREETER: &str = "use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 9, \
                       ReuseAddr => 1) or die; while (my $c = $l->accept) { print $c qq(hello\\n); close $c }";

/// Three nodes, a laptop, and hosts for peers.
struct Field {
    world: World,
    api: Api,
    database: Database,
}

/// A peer with its keys, on a host of its own.
struct OnHost {
    peer: Peer,
    keys: KeyPair,
    client: Client,
}

impl Field {
    async fn new() -> Result<Self> {
        let plan = [("a", "lighthouse", 1), ("b", "host", 1), ("c", "host", 1), ("laptop", "host", 1)];
        let mut world = World::joined_beside(&plan, PEERS).await?;
        for (number, name) in NODES.iter().enumerate() {
            let endpoint = format!("{}:51820", Network::address(number + 1));
            run(world.stack.ctl()?.args(["node", "register", name, "--endpoint", &endpoint]))?;
            run(world.stack.ctl()?.args(["node", "tie", name, "--device", name]))?;
            let folder = sockets(&world.stack.path(""), name)?;
            world.device(name).set_sockets(&folder);
        }
        for device in &mut world.devices {
            device.start()?;
        }
        let (api, database) = (world.stack.admin().await?, world.stack.database.connect().await?);
        let field = Self { world, api, database };
        field
            .settled(
                "the keys of all interfaces",
                "SELECT count(*) FROM nebula.node_interface WHERE public_key IS NULL",
            )
            .await?;
        Ok(field)
    }

    /// Waits until a count is 0.
    async fn settled(&self, what: &str, sql: &str) -> Result<()> {
        let seen = eventually(what, || async {
            Ok((self.database.query_one(sql, &[]).await?.get::<_, i64>(0) == 0).then_some(()))
        });
        seen.await.with_context(|| self.logs())
    }

    fn logs(&self) -> String {
        self.world.devices.iter().map(nebula_tests::device::Device::logs).collect()
    }

    async fn create(&self, items: &[Value], strategy: &str, wait: u32) -> Result<Vec<PeerResult>> {
        let body = json!({
            "projectId": self.world.stack.project, "strategy": strategy, "peers": items, "wait": wait
        });
        data(self.api.post("/api/peers").json(&body).send().await?).await.with_context(|| self.logs())
    }

    /// The `.conf` of a peer as it is handed out.
    async fn conf(&self, peer: &Peer, keys: &KeyPair) -> Result<(String, String)> {
        let config: PeerConfig = self.api.read(&format!("/api/peers/{}/config", peer.peer_id)).await?;
        ensure!(config.conf.contains(PRIVATE_KEY_PLACEHOLDER), "{}", config.conf);
        Ok((peer.file_name.clone(), config.conf.replace(PRIVATE_KEY_PLACEHOLDER, &keys.private)))
    }

    /// Creates ten peers in one batch, half of them in the group family and with a preshared key, and brings
    /// each up on its host.
    async fn peers(&self) -> Result<Vec<OnHost>> {
        let keys = (0..PEERS).map(|_| KeyPair::generate()).collect::<Result<Vec<_>>>()?;
        let items: Vec<Value> = keys
            .iter()
            .enumerate()
            .map(|(number, keys)| {
                json!({
                    "name": format!("peer {number}"), "publicKey": keys.public, "preshared": number % 2 == 0,
                    "groups": if number % 2 == 0 { vec!["family"] } else { vec![] },
                })
            })
            .collect();
        let made = self.create(&items, "auto", 50).await?;
        let mut peers = Vec::new();
        for (number, (result, keys)) in made.into_iter().zip(keys).enumerate() {
            let peer = result.peer.with_context(|| format!("{:?}", result.error))?;
            assert_eq!(peer.state, PeerState::Active);
            let (file_name, conf) = self.conf(&peer, &keys).await?;
            let namespace = self.world.network.namespace(number + 5);
            let client = Client::up(&namespace, &self.world.stack.path(""), &file_name, &conf)?;
            peers.push(OnHost { peer, keys, client });
        }
        Ok(peers)
    }

    async fn pings(&self, client: &Client, address: &str) -> Result<()> {
        let what = format!("a peer to reach {address}");
        let seen = eventually(&what, || async { Ok(client.pings(address).then_some(())) });
        seen.await.with_context(|| self.logs())
    }

    /// Allowed IPs by key, as WireGuard on a node has them.
    fn on_interface(&self, node: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let shown = run(self.world.look(node).inside("wg").args(["show", "wg0", "allowed-ips"]))?;
        let line = |line: &str| {
            let (key, networks) = line.split_once('\t')?;
            Some((key.to_owned(), networks.split(' ').map(str::to_owned).collect()))
        };
        Ok(shown.lines().filter_map(line).collect())
    }

    /// The same, as the database wants it.
    async fn wanted(&self, node: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let sql = "SELECT encode(e.public_key, 'base64'), nebula.allowed_ips(e.peer_id)
                     FROM nebula.placement p JOIN nebula.peer e USING (peer_id)
                     JOIN nebula.node_interface i USING (interface_id) JOIN nebula.node n USING (node_id)
                    WHERE n.name = $1 AND p.wanted = 'present'";
        let rows = self.database.query(sql, &[&node]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get::<_, Vec<String>>(1).into_iter().collect())).collect())
    }

    /// Waits until desired, applied and allocated agree, and no address is held twice or by nobody.
    async fn agrees(&self) -> Result<()> {
        let open = "SELECT count(*) FROM nebula.placement WHERE wanted = 'absent' OR applied_generation < generation";
        self.settled("all changes to be confirmed", open).await?;
        for node in NODES {
            let what = format!("the interface of {node} to be as wanted");
            let same = eventually(&what, || async {
                Ok((self.on_interface(node)? == self.wanted(node).await?).then_some(()))
            });
            same.await.with_context(|| self.logs())?;
        }
        let faults = "SELECT (SELECT count(*) - count(DISTINCT (project_id, ip)) FROM nebula.allocation WHERE released_at IS NULL)
                           + (SELECT count(*) FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
                               WHERE l.purpose = 'peer' AND a.released_at IS NULL
                                 AND NOT EXISTS (SELECT FROM nebula.peer e WHERE e.peer_id = a.device_id))
                           + (SELECT count(*) FROM nebula.peer e
                               WHERE NOT EXISTS (SELECT FROM nebula.allocation a
                                                  WHERE a.device_id = e.peer_id AND a.released_at IS NULL))
                           + (SELECT count(*) FROM nebula.node n
                               WHERE n.active_peers <> (SELECT count(*) FROM nebula.placement p
                                                          JOIN nebula.node_interface i USING (interface_id)
                                                         WHERE i.node_id = n.node_id))";
        assert_eq!(self.database.query_one(faults, &[]).await?.get::<_, i64>(0), 0);
        Ok(())
    }

    /// Whether the service on the laptop greets a peer.
    fn is_greeted(&self, client: &Client) -> bool {
        let address = &self.world.look("laptop").address;
        let ask = format!("exec 3<>/dev/tcp/{address}/{PORT} && head -c 5 <&3");
        run(client.inside("timeout").args(["3", "bash", "-c", &ask])).is_ok_and(|said| said == "hello")
    }

    fn greeter(&self) -> Result<Process> {
        let log = self.world.stack.log("greeter");
        Process::start(&PathBuf::from("ip"), &log, "KILL", None, |command| {
            let namespace = self.world.network.namespace(4);
            command.args(["netns", "exec", &namespace, "perl", "-e", GREETER, PORT]);
        })
    }
}

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
        let ping = |laptop: &nebula_tests::device::Device| {
            run(laptop.inside("ping").args(["-c", "1", "-W", "1", &one.peer.addresses[0]]))
        };
        eventually("the laptop to reach a peer", || async { Ok(ping(laptop).ok()) })
            .await
            .with_context(|| field.logs())?;
    }
    groups(&field, &peers).await?;
    moves(&field, &peers[0]).await?;
    field.agrees().await
}

/// A rule for a group lets its peers in, and no others.
async fn groups(field: &Field, peers: &[OnHost]) -> Result<()> {
    let _greeter = field.greeter()?;
    let ctl = |arguments: &[&str]| run(field.world.stack.ctl()?.args(arguments));
    eventually("the service", || async { Ok(field.is_greeted(&peers[1].client).then_some(())) }).await?;
    ctl(&["rule", "add", "inbound", "--protocol", "tcp", "--port", PORT, "--peer-group", "family"])?;
    ctl(&["project", "options", "inbound=closed"])?;
    for (member, stranger) in [(&peers[0], &peers[1]), (&peers[2], &peers[3])] {
        let kept_out = eventually("a peer without the group to be kept out", || async {
            Ok((!field.is_greeted(&stranger.client)).then_some(()))
        });
        kept_out.await.with_context(|| field.logs())?;
        let let_in = eventually("a peer of the group to be let in", || async {
            Ok(field.is_greeted(&member.client).then_some(()))
        });
        let_in.await.with_context(|| field.logs())?;
        assert!(!field.is_greeted(&stranger.client));
    }
    Ok(())
}

/// A peer moves while it pings: it is given its new `.conf`, and routes follow its first handshake there.
async fn moves(field: &Field, one: &OnHost) -> Result<()> {
    let from = one.peer.node.clone().context("no node")?;
    let to = NODES.into_iter().find(|node| *node != from).context("no other")?;
    let laptop = &field.world.look("laptop").address;
    let pings = Pings::start(one.client.inside("ping"), laptop)?;
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
    let (sent, came) = pings.end()?;
    let lost = Duration::from_millis(20 * (sent - came) as u64);
    println!("moved while it pinged: {} of {sent} pings lost, {lost:?}", sent - came);
    assert!(lost < Duration::from_secs(6), "{} of {sent}", sent - came);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_cut_off_or_killed_end_as_the_database_wants() -> Result<()> {
    let mut field = Field::new().await?;
    // The node cannot answer: the caller is told so, and seat and address stay held.
    field.world.look("c").cut(true)?;
    let item = |name: &str| {
        Ok::<_, anyhow::Error>(json!({ "name": name, "publicKey": KeyPair::generate()?.public }))
    };
    let body = json!({
        "projectId": field.world.stack.project, "strategy": "name:c", "peers": [item("lost")?], "wait": 2
    });
    let refused = refusal(field.api.post("/api/peers").json(&body).send().await?).await?;
    assert_eq!(refused.status.as_u16(), 503, "{refused:?}");
    let held = "SELECT active_peers::bigint FROM nebula.node WHERE name = 'c'";
    assert_eq!(field.database.query_one(held, &[]).await?.get::<_, i64>(0), 1);
    field.world.look("c").cut(false)?;
    field.agrees().await?;
    assert_eq!(field.database.query_one(held, &[]).await?.get::<_, i64>(0), 0);

    for round in 0..rounds(3, 50) {
        let items = (0..3).map(|number| item(&format!("r{round} {number}"))).collect::<Result<Vec<_>>>()?;
        let made = field.create(&items, "auto", 0).await?;
        let ids: Vec<_> = made.into_iter().filter_map(|result| Some(result.peer?.peer_id)).collect();
        ensure!(ids.len() == 3, "{ids:?}");
        let node = NODES[rand::rng().random_range(0..NODES.len())];
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..300))).await;
        field.world.device(node).kill()?;
        if round % 3 == 1 {
            field.world.stack.kill_gateway()?;
            field.world.stack.start_gateway().await?;
        }
        let target = format!("name:{}", NODES[round % NODES.len()]);
        let body = json!({ "peerIds": [ids[0]], "strategy": target });
        // A peer that is there already does not move.
        drop(field.api.post("/api/peers/move").json(&body).send().await?);
        field.world.device(node).start()?;
        let body = json!({ "peerIds": [ids[1]] });
        let removed: Vec<PeerResult> =
            data(field.api.post("/api/peers/remove").json(&body).send().await?).await?;
        ensure!(removed.iter().all(|result| result.error.is_none()), "{removed:?}");
    }
    // Moves that nobody completes would stay open.
    field
        .database
        .batch_execute("SELECT nebula.remove_peer(peer_id) FROM nebula.placement WHERE role = 'target'")
        .await?;
    field.agrees().await
}
