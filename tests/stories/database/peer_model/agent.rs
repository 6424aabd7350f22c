//! The agent of a node: applies what it is told, and now and then loses an answer or an acknowledgement.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::Addresses;

/// Reports of one agent while sessions change what is wanted.
const REPORTS: usize = 120;

pub(super) struct Agent {
    client: Client,
    pub(super) device: Uuid,
    epoch: Value,
    interface: Value,
    /// The generation that the interface runs.
    generation: i64,
    /// The peers on the interface, with their addresses.
    peers: BTreeMap<Uuid, Vec<String>>,
    addresses: Addresses,
}

impl Agent {
    pub(super) fn new(client: Client, device: Uuid, addresses: Addresses) -> Self {
        let (epoch, interface) = (Value::Null, Value::Null);
        Self { client, device, epoch, interface, generation: 0, peers: BTreeMap::new(), addresses }
    }

    pub(super) fn peers(&self) -> Vec<Uuid> {
        self.peers.keys().copied().collect()
    }

    /// Reports that come in any order of what sessions do.
    pub(super) async fn run(mut self, mut rng: StdRng) -> Result<Self> {
        for _ in 0..REPORTS {
            let failed: Vec<Uuid> =
                if rng.random_ratio(1, 6) { self.peers().into_iter().take(1).collect() } else { Vec::new() };
            let Some(answer) = self.report(&failed).await? else { continue };
            match rng.random_range(0..8) {
                // The answer is lost.
                0 => {}
                // The node loses all it knows.
                1 => {
                    self.epoch = Value::Null;
                    self.apply(&answer)?;
                    self.generation = 0;
                }
                _ => self.apply(&answer)?,
            }
        }
        Ok(self)
    }

    /// Reports what the interface runs; `None` while the device represents no node.
    async fn report(&self, failed: &[Uuid]) -> Result<Option<Value>> {
        let failed: Vec<Value> =
            failed.iter().map(|peer| json!({ "peerId": peer, "reason": "model" })).collect();
        let seen: Vec<Value> = self
            .peers
            .keys()
            .map(|peer| json!({ "peerId": peer, "handshakeAt": "2026-01-01T00:00:00Z" }))
            .collect();
        let interfaces = if self.interface.is_null() {
            json!([])
        } else {
            json!([{ "interfaceId": self.interface, "generation": self.generation, "failed": failed, "seen": seen }])
        };
        let report = json!({ "epoch": self.epoch, "interfaces": interfaces });
        let sync = "SELECT nebula.sync_node(NULL, $1, clock_timestamp(), $2)";
        match self.client.query_one(sync, &[&self.device, &report]).await {
            Ok(row) => Ok(Some(row.get(0))),
            Err(error) if error.code().is_some_and(|code| code.code() == "P0002") => Ok(None),
            Err(error) => Err(error).context("sync_node"),
        }
    }

    fn apply(&mut self, answer: &Value) -> Result<()> {
        let told = &answer["interfaces"][0];
        ensure!(told["name"] == "wg0", "one interface: {answer}");
        let base = told["base"].as_i64().context("base")?;
        ensure!(
            base == 0 || base == self.generation,
            "base {base}, but the interface runs {}",
            self.generation
        );
        let mut wanted = if base == 0 { BTreeMap::new() } else { self.peers.clone() };
        for peer in told["peers"].as_array().context("peers")? {
            let id: Uuid = serde_json::from_value(peer["peerId"].clone())?;
            if peer["absent"] == true {
                wanted.remove(&id);
            } else {
                wanted.insert(id, serde_json::from_value(peer["allowedIps"].clone())?);
            }
        }
        ensure!(told["wanted"] == wanted.len(), "{} peers, but {} are wanted", wanted.len(), told["wanted"]);
        let mut addresses = self.addresses.lock().expect("no test panics with it");
        for address in self.peers.values().flatten() {
            let (_, count) = addresses.get_mut(address).context("an address that was noted")?;
            *count -= 1;
            if *count == 0 {
                addresses.remove(address);
            }
        }
        for (peer, held) in &wanted {
            for address in held {
                let (holder, count) = addresses.entry(address.clone()).or_insert((*peer, 0));
                if holder != peer {
                    bail!("{address} is on interfaces for {holder} and {peer}");
                }
                *count += 1;
            }
        }
        drop(addresses);
        self.peers = wanted;
        self.generation = told["generation"].as_i64().context("generation")?;
        self.interface = told["interfaceId"].clone();
        self.epoch = answer["epoch"].clone();
        Ok(())
    }
}

/// All agents report until their interfaces run all that is wanted. The report of one can change what is wanted of
/// another, because a peer has arrived.
pub(super) async fn settle(agents: &mut [Agent]) -> Result<()> {
    for _ in 0..50 {
        for agent in agents.iter_mut() {
            let answer = agent.report(&[]).await?.context("the device represents a node")?;
            agent.apply(&answer)?;
        }
        let Some(agent) = agents.first() else { return Ok(()) };
        let behind = "SELECT FROM nebula.node_interface i JOIN nebula.node n USING (node_id)
                       WHERE n.device_id IS NOT NULL AND i.acknowledged_generation < i.generation";
        if agent.client.query(behind, &[]).await?.is_empty() {
            return Ok(());
        }
    }
    bail!("agents go on learning")
}
