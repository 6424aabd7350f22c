//! Three nodes with real interfaces, and peers on hosts of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_api::peer::{PRIVATE_KEY_PLACEHOLDER, Peer, PeerConfig, PeerResult, PeerState};
use nebula_tests::api::{Api, data};
use nebula_tests::binary::run;
use nebula_tests::device::Device;
use nebula_tests::eventually;
use nebula_tests::netns::{Network, privileged};
use nebula_tests::process::Process;
use nebula_tests::wireguard::{Client, KeyPair, sockets};
use serde_json::{Value, json};
use tokio_postgres::{Client as Database, Row};

use crate::agent::World;
use crate::agent::node::hand_over;

pub(crate) const NODES: [&str; 3] = ["a", "b", "c"];
const PEERS: usize = 10;
/// Greets every caller.
const GREETER: &str = "use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 9, \
                       ReuseAddr => 1) or die; while (my $c = $l->accept) { print $c qq(hello\\n); close $c }";

/// Three nodes, a laptop, and hosts for peers.
pub(crate) struct Field {
    pub(crate) world: World,
    pub(crate) api: Api,
    pub(crate) database: Database,
}

/// A peer with its keys, on a host of its own.
pub(crate) struct OnHost {
    pub(crate) peer: Peer,
    pub(crate) keys: KeyPair,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Field {
    pub(crate) async fn new() -> Result<Self> {
        let plan = [("a", "lighthouse", 1), ("b", "host", 1), ("c", "host", 1), ("laptop", "host", 1)];
        let mut world = World::joined_beside(&plan, PEERS).await?;
        for (number, name) in NODES.iter().enumerate() {
            let endpoint = format!("{}:51820", Network::address(number + 1));
            run(world.stack.ctl()?.args(["node", "register", name, "--endpoint", &endpoint]))?;
            // The preshared keys of these are sealed on their way.
            if *name != "c" {
                hand_over(&world.stack, name, world.look(name))?;
            }
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
    pub(crate) async fn settled(&self, what: &str, sql: &str) -> Result<()> {
        let seen = eventually(what, || async {
            Ok((self.database.query_one(sql, &[]).await?.get::<_, i64>(0) == 0).then_some(()))
        });
        seen.await.with_context(|| self.logs())
    }

    pub(crate) fn logs(&self) -> String {
        self.world.devices.iter().map(Device::logs).collect()
    }

    /// The body of a call that creates peers.
    pub(crate) fn new_peers(&self, items: &[Value], strategy: &str, wait: u32) -> Value {
        json!({ "projectId": self.world.stack.project, "strategy": strategy, "peers": items, "wait": wait })
    }

    pub(crate) async fn create(&self, items: &[Value], strategy: &str, wait: u32) -> Result<Vec<PeerResult>> {
        let body = self.new_peers(items, strategy, wait);
        data(self.api.post("/api/peers").json(&body).send().await?).await.with_context(|| self.logs())
    }

    /// The `.conf` of a peer as it is handed out.
    pub(crate) async fn conf(&self, peer: &Peer, keys: &KeyPair) -> Result<(String, String)> {
        let config: PeerConfig = self.api.read(&format!("/api/peers/{}/config", peer.peer_id)).await?;
        ensure!(config.conf.contains(PRIVATE_KEY_PLACEHOLDER), "{}", config.conf);
        Ok((peer.file_name.clone(), config.conf.replace(PRIVATE_KEY_PLACEHOLDER, &keys.private)))
    }

    /// Creates ten peers in one batch, half of them in the group family and with a preshared key, and brings
    /// each up on its host.
    pub(crate) async fn peers(&self) -> Result<Vec<OnHost>> {
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
            peers.push(OnHost { peer, keys, client, namespace });
        }
        Ok(peers)
    }

    pub(crate) async fn pings(&self, client: &Client, address: &str) -> Result<()> {
        let what = format!("a peer to reach {address}");
        let seen = eventually(&what, || async { Ok(client.pings(address).then_some(())) });
        seen.await.with_context(|| self.logs())
    }

    /// Preshared key and allowed IPs by public key, as WireGuard on a node has them.
    fn on_interface(&self, node: &str) -> Result<BTreeMap<String, (String, BTreeSet<String>)>> {
        let shown = run(self.world.look(node).inside("wg").args(["show", "wg0", "dump"]))?;
        let line = |line: &str| {
            let columns: Vec<&str> = line.split('\t').collect();
            let &[key, preshared, _, networks, ..] = columns.as_slice() else { return None };
            Some((key.to_owned(), (preshared.to_owned(), networks.split(',').map(str::to_owned).collect())))
        };
        // The interface itself comes first.
        Ok(shown.lines().skip(1).filter_map(line).collect())
    }

    /// The same, as the database wants it.
    async fn wanted(&self, node: &str) -> Result<BTreeMap<String, (String, BTreeSet<String>)>> {
        let sql =
            "SELECT encode(e.public_key, 'base64'), coalesce(encode(e.preshared_key, 'base64'), '(none)'),
                          nebula.allowed_ips(e.peer_id)
                     FROM nebula.placement p JOIN nebula.peer e USING (peer_id)
                     JOIN nebula.node_interface i USING (interface_id) JOIN nebula.node n USING (node_id)
                    WHERE n.name = $1 AND p.wanted = 'present'";
        let rows = self.database.query(sql, &[&node]).await?;
        let one = |row: &Row| (row.get(0), (row.get(1), row.get::<_, Vec<String>>(2).into_iter().collect()));
        Ok(rows.iter().map(one).collect())
    }

    /// Waits until desired, applied and allocated agree, and no address is held twice or by nobody.
    pub(crate) async fn agrees(&self) -> Result<()> {
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

    /// Starts a service in a namespace that greets every caller, and waits until it listens.
    pub(crate) async fn greeter(&self, namespace: &str, port: &str) -> Result<Process> {
        let log = self.world.stack.log(&format!("greeter-{namespace}-{port}"));
        let greeter = Process::start(&PathBuf::from("ip"), &log, "KILL", None, |command| {
            command.args(["netns", "exec", namespace, "perl", "-e", GREETER, port]);
        })?;
        let listens = format!("sport = :{port}");
        eventually("the service to listen", || async {
            let mut ss = privileged("ip");
            let shown = run(ss.args(["netns", "exec", namespace, "ss", "-Hltn", &listens]))?;
            Ok((!shown.is_empty()).then_some(()))
        })
        .await?;
        Ok(greeter)
    }
}

/// Whether a service greets this command's host within a second; the command is `timeout` there.
pub(crate) fn is_greeted(mut timeout: Command, address: &str, port: &str) -> bool {
    let ask = format!("exec 3<>/dev/tcp/{address}/{port} && head -c 5 <&3");
    run(timeout.args(["1", "bash", "-c", &ask])).is_ok_and(|said| said == "hello")
}
