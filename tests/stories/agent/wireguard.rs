//! The interfaces of a node, without the gateway: the agent applies the state that is on its disk.

use std::fs;
use std::path::Path;

use nebula_tests::wireguard::{Client, KeyPair, Pings, sockets};
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

const PEERS: usize = 1000;
const FORWARDING: &str = "/proc/sys/net/ipv4/conf/all/forwarding";

/// A device whose folder says which peers it serves, and a client.
struct NodeWorld {
    world: World,
    client: KeyPair,
    /// Peers of the interface; the client's is the first.
    peers: Vec<Value>,
    generation: i64,
    interface: Uuid,
    repair: bool,
    /// Fields `internet` and `networks` of the interface.
    outside: Value,
}

impl NodeWorld {
    async fn new() -> Result<Self> {
        let mut world = World::joined_beside(&[("node", "lighthouse", 1)], 2).await?;
        // It would say that this device represents no node.
        world.stack.stop_gateway()?;
        let folder = sockets(&world.stack.path(""), "node")?;
        world.device("node").set_sockets(&folder);
        let client = KeyPair::generate()?;
        let mut peers = vec![peer(0, &client.public)];
        peers.extend((1..PEERS).map(|number| peer(number, &random_key())));
        Ok(Self {
            world,
            client,
            peers,
            generation: 0,
            interface: Uuid::new_v4(),
            repair: true,
            outside: json!({ "internet": [], "networks": [] }),
        })
    }

    fn node(&self) -> &Device {
        self.world.look("node")
    }

    /// Ends the agent as a power cut would, and starts one that finds a newer state.
    fn restart_with_change(&mut self) -> Result<()> {
        // No agent runs at first.
        drop(self.world.device("node").kill());
        self.generation += 1;
        self.write()?;
        self.world.device("node").start()
    }

    fn write(&self) -> Result<()> {
        let path = self.node().folder.join("wireguard");
        fs::create_dir_all(&path)?;
        let path = path.join("state.json");
        let before: Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
        let before = &before["interfaces"][0];
        let keys: Vec<&Value> = self.peers.iter().map(|peer| &peer["publicKey"]).collect();
        let mut state = json!({
            "interfaceId": self.interface, "name": "wg0", "listenPort": 51820,
            "addresses": ["10.77.0.1/16", "fd77::1/64"], "mtu": 1280, "generation": self.generation, "base": 0,
            "peers": self.peers, "wanted": self.peers.len(), "repair": self.repair,
            "overlay": ["10.99.0.0/16"], "firewall": [],
        });
        for field in ["internet", "networks"] {
            state[field] = self.outside[field].clone();
        }
        let interface = json!({
            "state": state, "applied": self.generation - 1, "counters": before["counters"].as_str().map_or_else(Uuid::new_v4, |text| text.parse().unwrap_or_default()),
            "pending": if self.repair { keys } else { Vec::new() }, "publicKey": before["publicKey"],
        });
        let all = json!({ "epoch": Uuid::max(), "interfaces": [interface], "leaving": [] });
        Ok(fs::write(path, all.to_string())?)
    }

    /// Waits until the agent says that this generation runs; answers the line.
    async fn runs(&self) -> Result<String> {
        let wanted = format!("wg0 runs generation {} ", self.generation);
        let what = format!("generation {}", self.generation);
        let line = eventually(&what, || async {
            Ok(self.node().logs().lines().rev().find(|line| line.contains(&wanted)).map(str::to_owned))
        });
        line.await.with_context(|| self.node().logs())
    }

    fn conf(&self, node_key: &str) -> String {
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.77.0.2/32, fd77::2/128\nMTU = 1280\n\n[Peer]\nPublicKey = \
             {node_key}\nAllowedIPs = 10.77.0.0/16, fd77::/64, 203.0.113.0/24, 198.51.100.0/24, 192.168.7.0/24, 10.200.0.0/24\nEndpoint = {}:51820\nPersistentKeepalive = 25\n",
            self.client.private,
            Network::address(1)
        )
    }

    fn wg(&self, arguments: &[&str]) -> Result<String> {
        run(self.node().inside("wg").args(arguments))
    }

    /// Waits until the interface has these allowed IPs for a key.
    async fn allows(&self, key: &str, expected: Option<&str>) -> Result<()> {
        let what = format!("{key} to have {expected:?}");
        let seen = eventually(&what, || async {
            let shown = self.wg(&["show", "wg0", "allowed-ips"])?;
            let found = shown.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
            Ok((found == expected).then_some(()))
        });
        seen.await.with_context(|| self.node().logs())
    }

    fn daemon(&self) -> Result<i32> {
        let all = run(nebula_tests::netns::privileged("ip").args([
            "netns",
            "pids",
            &self.world.network.namespace(1),
        ]))?;
        let is_daemon = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("wireguard-go\0wg0"))
        };
        let pid = all.split_whitespace().find(is_daemon).context("no wireguard-go runs")?;
        Ok(pid.parse()?)
    }
}

fn random_key() -> String {
    use base64::Engine;
    let mut key = [0; 32];
    rand::rng().fill(&mut key);
    base64::engine::general_purpose::STANDARD.encode(key)
}

fn peer(number: usize, key: &str) -> Value {
    let (high, low) = ((number + 2) / 256, (number + 2) % 256);
    json!({
        "peerId": Uuid::from_u128(number as u128), "publicKey": key, "absent": false,
        "presharedKey": if number % 2 == 1 { Some(random_key()) } else { None },
        "allowedIps": [format!("10.77.{high}.{low}/32"), format!("fd77::{:x}/128", number + 2)],
    })
}

fn key_of(peer: &Value) -> &str {
    peer["publicKey"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_applied_by_differences_and_survive_their_programs() -> Result<()> {
    let mut world = NodeWorld::new().await?;
    let forwarding = run(world.node().inside("cat").arg(FORWARDING))?;
    world.restart_with_change()?;
    let line = world.runs().await?;
    println!("{line}");
    assert!(line.contains("1000 peers (1000 changed, 0 failed"), "{line}");
    assert_eq!(run(world.node().inside("cat").arg(FORWARDING))?, "1\n");
    assert!(run(world.node().inside("nft").args(["list", "tables"]))?.contains("nebulactl-node-wg0"));
    let node_key = world.wg(&["show", "wg0", "public-key"])?.trim().to_owned();
    let client = Client::up(
        &world.world.network.namespace(2),
        &world.world.stack.path(""),
        "phone",
        &world.conf(&node_key),
    )?;
    for address in ["10.77.0.1", "fd77::1"] {
        eventually("the client to reach the node", || async { Ok(client.pings(address).then_some(())) })
            .await?;
    }

    // Another peer changes and the agent is killed: the client notices nothing.
    let pings = Pings::start(client.inside("ping"), "10.77.0.1", "0.02")?;
    world.peers[500]["allowedIps"] = json!(["10.77.200.1/32"]);
    world.restart_with_change()?;
    let line = world.runs().await?;
    assert!(line.contains("(1 changed, 0 failed"), "{line}");
    let (sent, came) = pings.end()?;
    assert!(sent > 5 && sent - came <= 1, "{came} of {sent} came back");

    // wireguard-go is killed: it is started again, and the node starts the handshake.
    let endpoints = world.node().folder.join("wireguard/endpoints.json");
    let known = eventually("the endpoint to be saved", || async {
        Ok(fs::read_to_string(&endpoints).ok().filter(|text| text.contains("192.0.2.2")))
    });
    known.await.with_context(|| world.node().logs())?;
    let pings = Pings::start(client.inside("ping"), "10.77.0.1", "0.02")?;
    let pid = world.daemon()?;
    let killed = Instant::now();
    kill_process(Pid::from_raw(pid).context("no process")?, Signal::KILL)?;
    eventually("the client to be back", || async { Ok(client.pings("10.77.0.1").then_some(())) }).await?;
    let (took, (sent, came)) = (killed.elapsed(), pings.end()?);
    println!("wireguard-go killed: back after {took:?}, {} of {sent} pings lost", sent - came);
    // A lost handshake is repeated after 5 s; a client that is not called needs 15 s.
    assert!(took < Duration::from_secs(14), "{took:?}: {}", world.node().logs());

    drift(&mut world).await?;
    leave(&world, &forwarding)
}

/// Changes that others make on the interface are mended, or only shown.
async fn drift(world: &mut NodeWorld) -> Result<()> {
    let (removed, changed) = (key_of(&world.peers[1]).to_owned(), key_of(&world.peers[2]).to_owned());
    let stranger = random_key();
    let disturb = || -> Result<()> {
        world.wg(&["set", "wg0", "peer", &removed, "remove"])?;
        world.wg(&["set", "wg0", "peer", &changed, "allowed-ips", "10.77.250.1/32"])?;
        world.wg(&["set", "wg0", "peer", &stranger, "allowed-ips", "10.77.250.2/32"]).map(drop)
    };
    disturb()?;
    world.allows(&stranger, None).await?;
    world.allows(&removed, Some("10.77.0.3/32 fd77::3/128")).await?;
    world.allows(&changed, Some("10.77.0.4/32 fd77::4/128")).await?;
    run(world.node().inside("nft").args(["flush", "ruleset"]))?;
    disturb()?;

    world.repair = false;
    world.restart_with_change()?;
    world.runs().await?;
    let shown = eventually("the differences to be shown", || async {
        Ok((world.node().status()["node"]["interfaces"][0]["drift"] == 3).then_some(()))
    });
    shown.await.with_context(|| world.node().logs())?;
    world.allows(&stranger, Some("10.77.250.2/32")).await?;
    let tables = run(world.node().inside("nft").args(["list", "tables"]))?;
    assert!(tables.contains("nebulactl-node-wg0"), "{tables}");
    Ok(())
}

fn leave(world: &NodeWorld, forwarding: &str) -> Result<()> {
    let program = binary::built("nebulactl")?.display().to_string();
    run(world.node().inside(&program).args(["leave", "--yes", "--dir"]).arg(&world.node().folder))?;
    let node = world.node();
    assert!(!run(node.inside("ip").args(["-brief", "link"]))?.contains("wg0"));
    assert_eq!(run(node.inside("nft").args(["list", "tables"]))?, "");
    assert_eq!(run(node.inside("cat").arg(FORWARDING))?, *forwarding);
    assert!(!Path::new(&node.folder).join("wireguard").exists());
    Ok(())
}

/// A network: the node's address there, and that of another host. The first one is reached through a router; to the
/// others the node is attached.
const PUBLIC: [&str; 2] = ["203.0.113.1", "203.0.113.9"];
const PUBLIC_LAN: [&str; 2] = ["198.51.100.1", "198.51.100.9"];
const LAN: [&str; 2] = ["192.168.7.1", "192.168.7.9"];
const OTHER_LAN: [&str; 2] = ["10.200.0.1", "10.200.0.9"];

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_reaches_what_is_public_and_no_network_of_its_node_but_those_listed_for_it() -> Result<()> {
    let mut world = NodeWorld::new().await?;
    world.peers.truncate(1);
    let ip = |host, arguments: &str| {
        let namespace = world.world.network.namespace(host);
        let mut ip = nebula_tests::netns::privileged("ip");
        run(ip.args(["-n", &namespace]).args(arguments.split_whitespace()))
    };
    for (host, place) in [(1, 0), (3, 1)] {
        for network in [PUBLIC_LAN, LAN, OTHER_LAN] {
            ip(host, &format!("addr add {}/24 dev eth0", network[place]))?;
        }
        ip(host, &format!("addr add {}/32 dev lo", PUBLIC[place]))?;
    }
    ip(1, &format!("route add {} via {}", PUBLIC[1], Network::address(3)))?;
    ip(3, &format!("route add {} via {}", PUBLIC[0], Network::address(1)))?;
    let has_legacy = run(world.node().inside("iptables-legacy").args(["-P", "FORWARD", "DROP"])).is_ok();
    world.outside = json!({ "internet": ["10.77.0.2"], "networks": [] });
    world.restart_with_change()?;
    world.runs().await?;
    let node_key = world.wg(&["show", "wg0", "public-key"])?.trim().to_owned();
    let (namespace, folder) = (world.world.network.namespace(2), world.world.stack.path(""));
    let client = Client::up(&namespace, &folder, "phone", &world.conf(&node_key))?;
    eventually("the client to reach the node", || async { Ok(client.pings("10.77.0.1").then_some(())) })
        .await?;
    if has_legacy {
        hidden_rules(&world, &client).await?;
    }

    let everything = json!({ "internet": [], "networks": [
        { "sources": ["10.77.0.2"], "destinations": ["0.0.0.0/0", "::/0"] }] });
    let lan = json!({ "internet": [], "networks": [
        { "sources": ["10.77.0.2"], "destinations": ["192.168.7.0/24"] }] });
    let internet = world.outside.clone();
    for (outside, [public, neighbour, listed, other]) in [
        (internet, [true, false, false, false]),
        (lan, [false, false, true, false]),
        (everything, [true, true, true, true]),
    ] {
        world.outside = outside;
        world.restart_with_change()?;
        world.runs().await?;
        // Beyond the node, and the node itself: its own private addresses answer nothing.
        for (address, reached) in [
            (PUBLIC[1], public),
            (PUBLIC[0], public),
            (PUBLIC_LAN[1], neighbour),
            (PUBLIC_LAN[0], public),
            (LAN[1], listed),
            (LAN[0], false),
            (OTHER_LAN[1], other),
            (OTHER_LAN[0], false),
        ] {
            let what = format!("{}: {address} reached: {reached}", world.outside);
            if reached {
                let seen = eventually(&what, || async { Ok(client.pings(address).then_some(())) });
                seen.await.with_context(|| world.node().logs())?;
            } else {
                assert!(!client.pings(address), "{what}");
            }
        }
        assert!(client.pings("10.77.0.1"));
    }
    Ok(())
}

/// Rules that nft does not list drop what the node forwards: the agent names the command that helps.
async fn hidden_rules(world: &NodeWorld, client: &Client) -> Result<()> {
    let obstacle = eventually("the rules of iptables-legacy to be named", || async {
        let node = &world.node().status()["node"];
        let texts = node["obstacles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(texts.map(str::to_owned).find(|text| text.contains("iptables-legacy")))
    });
    let obstacle = obstacle.await.with_context(|| world.node().logs())?;
    assert!(!client.pings(PUBLIC[1]));
    let (_, command) = obstacle.split_once(": ").context("no command")?;
    run(world.node().inside("sh").args(["-c", command]))?;
    assert!(client.pings(PUBLIC[1]), "{command}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_cannot_run_says_why_and_is_tried_again() -> Result<()> {
    let mut world = NodeWorld::new().await?;
    world.peers.truncate(3);
    // A link of somebody else's.
    run(world.node().inside("ip").args(["link", "add", "wg0", "type", "bridge"]))?;
    world.restart_with_change()?;
    let error = |word: &'static str| {
        let world = &world;
        async move {
            let seen = eventually(word, || async {
                let error = world.node().status()["node"]["interfaces"][0]["error"].clone();
                Ok(error.as_str().filter(|error| error.contains(word)).map(str::to_owned))
            });
            seen.await.with_context(|| world.node().logs())
        }
    };
    error("belongs to something else").await?;
    let shown = run(world.node().inside("ip").args(["-brief", "link", "show", "type", "bridge"]))?;
    assert!(shown.contains("wg0"), "it was not touched: {shown}");

    // Its port is taken by another interface.
    run(world.node().inside("wireguard-go").arg("other").env_remove("LOG_LEVEL"))?;
    run(world.node().inside("ip").args(["link", "set", "other", "up"]))?;
    world.wg(&["set", "other", "listen-port", "51820"])?;
    run(world.node().inside("ip").args(["link", "delete", "wg0"]))?;
    error("UDP port 51820 of wg0 is taken").await?;
    run(world.node().inside("ip").args(["link", "delete", "other"]))?;
    world.runs().await?;
    let shown = world.wg(&["show", "wg0", "peers"])?;
    assert_eq!(shown.lines().count(), 3);
    Ok(())
}
