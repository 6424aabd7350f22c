//! The agent of a node without interfaces: it speaks `SyncNode`, and applies or refuses as the story wants.
//! Written from the protocol's text, without the gateway's types.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::node::{NewSecret, NodeId};
use nebula_tests::api::{Api, data};
use nebula_tests::stack::Stack;
use rand::RngExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::dnapi::client::Agent;
use crate::dnapi::enrolled;
use crate::dnapi::node::{Signature, make};

/// A key of 32 random bytes in base64: good enough where no packet is sent.
pub(crate) fn key() -> String {
    BASE64_STANDARD.encode(rand::rng().random::<[u8; 32]>())
}

/// An interface as this agent has it.
#[derive(Debug, Clone)]
struct Interface {
    generation: i64,
    public_key: String,
    peers: BTreeMap<String, Value>,
}

/// A node with its device.
#[derive(Clone)]
pub(crate) struct FakeNode {
    pub(crate) agent: Agent,
    pub(crate) node: Uuid,
    pub(crate) secret: Option<NewSecret>,
    epoch: Value,
    interfaces: BTreeMap<String, Interface>,
}

impl FakeNode {
    /// Enrols a device in the stack's project, registers a node for it, and makes its interface known.
    pub(crate) async fn new(stack: &Stack, admin: &Api, name: &str) -> Result<Self> {
        Self::of(enrolled(stack, name).await?, admin, name).await
    }

    /// Registers a node for a device, and makes its interface known.
    pub(crate) async fn of(agent: Agent, admin: &Api, name: &str) -> Result<Self> {
        let wanted = json!({ "name": name, "endpoint": format!("{name}.example:51820") });
        let NodeId { node_id: node } = data(admin.post("/api/nodes").json(&wanted).send().await?).await?;
        let tie = json!({ "deviceId": agent.host });
        data::<Value>(admin.put(&format!("/api/nodes/{node}/device")).json(&tie).send().await?).await?;
        let interfaces = BTreeMap::new();
        let mut fake = Self { agent, node, secret: None, epoch: Value::Null, interfaces };
        fake.settle().await?;
        Ok(fake)
    }

    /// Signs later calls with a new secret of the node.
    pub(crate) async fn make_secret(&mut self, admin: &Api) -> Result<()> {
        self.secret = Some(make(admin, self.node).await?);
        Ok(())
    }

    /// A report of what it has.
    pub(crate) fn report(&self, wait: u32) -> Value {
        let interfaces: Vec<_> = self
            .interfaces
            .iter()
            .map(|(id, one)| {
                json!({ "interfaceId": id, "generation": one.generation, "publicKey": one.public_key })
            })
            .collect();
        let nonce = BASE64_STANDARD.encode(Uuid::new_v4().as_bytes());
        json!({ "nonce": nonce, "epoch": self.epoch, "wait": wait, "interfaces": interfaces, "obstacles": [] })
    }

    /// Sends a report; answers status and body.
    pub(crate) async fn send(&self, report: &Value) -> Result<(StatusCode, Value)> {
        let body = self.agent.request("SyncNode", report)?.to_string();
        let headers = match &self.secret {
            Some(secret) => Signature::by(secret).headers(&body)?,
            None => vec![],
        };
        self.agent.send_with(body, &headers).await
    }

    /// Sends a report that must be taken; answers the desired state.
    pub(crate) async fn ask(&self, report: &Value) -> Result<Value> {
        let (status, answer) = self.send(report).await?;
        ensure!(status == StatusCode::OK, "{status}: {answer}");
        let nonce = BASE64_STANDARD.decode(report["nonce"].as_str().context("no nonce")?)?;
        self.agent.verified(&answer["data"], &nonce)
    }

    /// Applies a state; answers whether it was another one.
    pub(crate) fn apply(&mut self, state: &Value) -> Result<bool> {
        let wanted = state["interfaces"].as_array().context("no interfaces")?;
        let mut changed = self.epoch != state["epoch"] || self.interfaces.len() != wanted.len();
        self.epoch = state["epoch"].clone();
        self.interfaces.retain(|id, _| wanted.iter().any(|one| one["interfaceId"] == **id));
        for one in wanted {
            let id = one["interfaceId"].as_str().context("no interfaceId")?;
            let empty = Interface { generation: 0, public_key: key(), peers: BTreeMap::new() };
            let mine = self.interfaces.entry(id.to_owned()).or_insert(empty);
            let generation = one["generation"].as_i64().context("no generation")?;
            changed |= mine.generation != generation;
            if one["base"] == 0 {
                mine.peers.clear();
            } else {
                ensure!(one["base"].as_i64() <= Some(mine.generation), "a base that it does not have: {one}");
            }
            for peer in one["peers"].as_array().context("no peers")? {
                let peer_id = peer["peerId"].as_str().context("no peerId")?.to_owned();
                match peer["absent"] == true {
                    true => mine.peers.remove(&peer_id),
                    false => mine.peers.insert(peer_id, peer.clone()),
                };
            }
            mine.generation = generation;
            ensure!(one["wanted"] == mine.peers.len(), "it has {:?}, wanted: {one}", mine.peers);
        }
        Ok(changed)
    }

    /// Applies and acknowledges until nothing is left to do.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        loop {
            let state = self.ask(&self.report(0)).await?;
            if !self.apply(&state)? {
                return Ok(());
            }
        }
    }

    /// Takes the newest state without applying it: all of its peers fail for this reason.
    pub(crate) async fn refuse(&mut self, reason: &str) -> Result<()> {
        let state = self.ask(&self.report(0)).await?;
        self.apply(&state)?;
        let mut report = self.report(0);
        let failed: Vec<_> = state["interfaces"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|one| one["peers"].as_array().cloned().unwrap_or_default())
            .filter(|peer| peer["absent"] != true)
            .map(|peer| json!({ "peerId": peer["peerId"], "reason": reason }))
            .collect();
        ensure!(!failed.is_empty(), "there is nothing to refuse: {state}");
        report["interfaces"][0]["failed"] = failed.into();
        self.ask(&report).await.map(drop)
    }

    /// Reports a handshake of a peer.
    pub(crate) async fn see(&mut self, peer: Uuid) -> Result<()> {
        let mut report = self.report(0);
        report["interfaces"][0]["counters"] = json!(Uuid::nil());
        report["interfaces"][0]["seen"] = json!([{
            "peerId": peer, "handshakeAt": chrono::Utc::now(), "endpoint": "192.0.2.7:40012",
            "receivedBytes": 148, "sentBytes": 92
        }]);
        let state = self.ask(&report).await?;
        self.apply(&state)?;
        Ok(())
    }

    /// Identifiers of the peers that it has, on all interfaces.
    pub(crate) fn peers(&self) -> Vec<Uuid> {
        let all = self.interfaces.values().flat_map(|one| one.peers.keys());
        all.filter_map(|id| id.parse().ok()).collect()
    }

    /// Fields of a peer that it has.
    pub(crate) fn peer(&self, id: Uuid) -> Option<&Value> {
        self.interfaces.values().find_map(|one| one.peers.get(&id.to_string()))
    }

    /// Public key of its only interface.
    pub(crate) fn public_key(&self) -> Result<&str> {
        Ok(&self.interfaces.values().next().context("it has no interface")?.public_key)
    }

    /// Applies whatever comes, by long polls, until the task is aborted.
    pub(crate) fn follow(mut self) -> JoinHandle<Result<()>> {
        tokio::spawn(async move {
            loop {
                let state = self.ask(&self.report(30)).await?;
                self.apply(&state)?;
            }
        })
    }
}
