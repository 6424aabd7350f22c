//! `SyncNode`: the agent of a node reports what its interfaces run, and waits for what they are to run.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::dnapi::SignedAnswer;
use nebula_api::node_sync::{NodeReport, NodeState};
use nebula_signature::seal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{AgentService, Refusal, answer, check_nonce};
use crate::database::agent::Caller;
use crate::database::node::NodeSecret;
use crate::database::node_sync::{self, Synced};
use crate::error::{ApiError, WRONG_STATE};
use crate::infra::node_hub::{NodeSubscription, NodeWake};

/// Longest wait in seconds, below the idle time-outs of usual proxies.
const MAX_WAIT: u32 = 60;

impl AgentService {
    /// Takes the report of a node; answers the desired state, at once if it is another one than the agent has
    /// applied, else when it changes or the wait is over.
    pub(crate) async fn sync_node(
        &self,
        caller: Caller,
        report: NodeReport,
    ) -> Result<SignedAnswer, Refusal> {
        check_nonce(&report.nonce)?;
        let Some(node) = &caller.node else { return self.dismiss(&caller, report).await };
        let device_id = caller.device_id;
        // Subscribed before the report is taken, so that a change in between is not missed.
        let subscription = self.nodes.subscribe(node.node_id);
        let said = content(&report)?;
        let client = self.database.client().await?;
        let Synced { mut state, due } =
            node_sync::take_report(&client, device_id, caller.called_at, &said).await?;
        drop((client, said));
        set_digests(&mut state)?;
        if report.wait > 0 && (!due || tells_digests(&report)) && is_current(&report, &state) {
            let end = Instant::now() + Duration::from_secs(report.wait.min(MAX_WAIT).into());
            if let Some(newer) = self.newer_state(device_id, &report, subscription, end).await? {
                state = newer;
            }
        }
        state.nonce = report.nonce;
        seal_preshared_keys(&mut state, node.secret.as_ref())?;
        self.sign_state(&caller, &state).await
    }

    /// Tells a device that represents no node any more to give up the interfaces that it still has. The
    /// answer is signed, because an agent must not give them up on anybody's word. Fails with 404 if it has
    /// none.
    async fn dismiss(&self, caller: &Caller, report: NodeReport) -> Result<SignedAnswer, Refusal> {
        if report.interfaces.is_empty() {
            return Err(represents_none().into());
        }
        let NodeReport { nonce, epoch, .. } = report;
        let epoch = epoch.unwrap_or_default();
        self.sign_state(caller, &NodeState { nonce, epoch, sealed_with: None, interfaces: vec![] }).await
    }

    async fn sign_state(&self, caller: &Caller, state: &NodeState) -> Result<SignedAnswer, Refusal> {
        let project = self.projects.at_version(&self.database, caller.project_id, caller.version).await?;
        Ok(answer::signed(&project.authority, state).await?)
    }

    /// Waits until the desired state is another one than the agent has, or until `end`, and reads it. `None` when
    /// the gateway stops or the agent calls again: then nothing was read.
    async fn newer_state(
        &self,
        device_id: Uuid,
        report: &NodeReport,
        mut subscription: NodeSubscription,
        end: Instant,
    ) -> Result<Option<NodeState>, ApiError> {
        let known = generations(report);
        loop {
            let is_over = tokio::select! {
                wake = subscription.woken() => match wake {
                    NodeWake::Changed => false,
                    NodeWake::Replaced => return Ok(None),
                },
                // Read at the end as well: a notification may have been lost.
                () = sleep_until(end) => true,
                () = self.stopping.cancelled() => return Ok(None),
            };
            let mut state = node_sync::state(&self.database.client().await?, device_id, &known).await?;
            set_digests(&mut state)?;
            if is_over || !is_current(report, &state) {
                return Ok(Some(state));
            }
        }
    }
}

fn represents_none() -> ApiError {
    ApiError::not_found("this device represents no node")
        .hint("An administrator lets it: nebulactl node tie NODE --device DEVICE.")
}

/// The report as the database reads it: without the parts that concern this call alone.
fn content(report: &NodeReport) -> Result<Value, ApiError> {
    let mut said = serde_json::to_value(report).map_err(|error| ApiError::internal(&error))?;
    if let Some(fields) = said.as_object_mut() {
        fields.retain(|name, _| name != "nonce" && name != "wait");
    }
    for interface in said["interfaces"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = interface.as_object_mut() {
            fields.remove("digest");
        }
    }
    Ok(said)
}

/// Sets the digests: of the parts that depend on devices, firewall rules and options of the project, none of
/// which raises a generation.
fn set_digests(state: &mut NodeState) -> Result<(), ApiError> {
    for interface in &mut state.interfaces {
        let outside = (&interface.internet, &interface.networks);
        let parts = (&interface.overlay, &interface.firewall, outside, &interface.dns);
        let text = serde_json::to_vec(&parts).map_err(|error| ApiError::internal(&error))?;
        interface.digest = STANDARD.encode(Sha256::digest(&text));
    }
    Ok(())
}

/// Whether the agent says by digests which firewall it has.
fn tells_digests(report: &NodeReport) -> bool {
    report.interfaces.iter().all(|one| one.digest.is_some())
}

/// The part of the report that says what the agent has.
fn generations(report: &NodeReport) -> Value {
    let interfaces = report.interfaces.iter();
    let interfaces: Vec<_> = interfaces
        .map(|one| json!({ "interfaceId": one.interface_id, "generation": one.generation }))
        .collect();
    json!({ "epoch": report.epoch, "interfaces": interfaces })
}

/// Whether the agent has applied all of this state, as far as it says so.
fn is_current(report: &NodeReport, state: &NodeState) -> bool {
    report.epoch == Some(state.epoch)
        && report.interfaces.len() == state.interfaces.len()
        && state.interfaces.iter().all(|wanted| {
            report.interfaces.iter().any(|one| {
                one.interface_id == wanted.interface_id
                    && one.generation == wanted.generation
                    && one.digest.as_ref().is_none_or(|digest| *digest == wanted.digest)
            })
        })
}

/// Seals the preshared keys with the secret that the call was signed with, because the connection to the
/// gateway may be plain HTTP.
fn seal_preshared_keys(state: &mut NodeState, secret: Option<&NodeSecret>) -> Result<(), ApiError> {
    let Some(secret) = secret else { return Ok(()) };
    state.sealed_with = Some(secret.key_id);
    for peer in state.interfaces.iter_mut().flat_map(|interface| &mut interface.peers) {
        if let Some(plain) = &peer.preshared_key {
            let plain = STANDARD.decode(plain).map_err(|_| {
                ApiError::new(WRONG_STATE, format!("the preshared key of peer {} is damaged", peer.peer_id))
                    .hint("Make another: nebulactl peer update, or PATCH /api/peers/{peerId}.")
            })?;
            let sealed = seal::seal(&secret.bytes, peer.peer_id.as_bytes(), &plain);
            let sealed = sealed.map_err(|error| ApiError::internal(&error))?;
            peer.preshared_key = Some(STANDARD.encode(sealed));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nebula_api::node_sync::{InterfaceReport, InterfaceState, NetworkAccess};

    use super::*;

    /// As the database writes it.
    fn state(generation: i64) -> NodeState {
        serde_json::from_value(json!({
            "epoch": Uuid::max(),
            "interfaces": [{
                "interfaceId": Uuid::nil(), "name": "wg0", "listenPort": 51820, "addresses": ["10.77.0.1/24"],
                "mtu": 1280, "generation": generation, "base": 0, "wanted": 1, "repair": true,
                "overlay": ["10.99.0.0/16"], "firewall": [], "internet": [],
                "peers": [
                    { "peerId": Uuid::nil(), "publicKey": "", "presharedKey": STANDARD.encode([7; 32]),
                      "allowedIps": ["10.77.0.2/32"] },
                    { "peerId": Uuid::max(), "publicKey": "", "allowedIps": [], "absent": true }
                ]
            }]
        }))
        .unwrap()
    }

    #[test]
    fn a_call_waits_only_when_the_agent_has_applied_everything() {
        let interface =
            |id, generation| InterfaceReport { interface_id: id, generation, ..InterfaceReport::default() };
        let report = |epoch, interfaces| NodeReport { epoch, interfaces, ..NodeReport::default() };
        let epoch = Some(Uuid::max());
        for (report, current) in [
            (report(epoch, vec![interface(Uuid::nil(), 3)]), true),
            (report(epoch, vec![interface(Uuid::nil(), 2)]), false),
            (report(epoch, vec![interface(Uuid::nil(), 4)]), false),
            (report(None, vec![interface(Uuid::nil(), 3)]), false),
            (report(Some(Uuid::nil()), vec![interface(Uuid::nil(), 3)]), false),
            (report(epoch, vec![]), false),
            (report(epoch, vec![interface(Uuid::max(), 3)]), false),
            (report(epoch, vec![interface(Uuid::nil(), 3), interface(Uuid::max(), 1)]), false),
        ] {
            assert_eq!(is_current(&report, &state(3)), current, "{report:?}");
        }
    }

    #[test]
    fn a_firewall_that_the_agent_does_not_have_ends_the_wait() {
        let mut before = state(3);
        set_digests(&mut before).unwrap();
        let told = InterfaceReport {
            generation: 3,
            digest: Some(before.interfaces[0].digest.clone()),
            ..InterfaceReport::default()
        };
        let report = NodeReport { epoch: Some(Uuid::max()), interfaces: vec![told], ..NodeReport::default() };
        assert!(is_current(&report, &before) && tells_digests(&report));
        let changes: [fn(&mut InterfaceState); 4] = [
            |one| one.internet.push("10.77.0.2".to_owned()),
            |one| one.networks.push(NetworkAccess { sources: Vec::new(), destinations: Vec::new() }),
            |one| one.overlay.clear(),
            |one| one.dns.push("10.77.0.1".to_owned()),
        ];
        for change in changes {
            let mut after = state(3);
            change(&mut after.interfaces[0]);
            set_digests(&mut after).unwrap();
            assert!(!is_current(&report, &after));
        }
        assert!(!tells_digests(&NodeReport {
            interfaces: vec![InterfaceReport::default()],
            ..NodeReport::default()
        }));
    }

    #[test]
    fn preshared_keys_open_only_with_the_secret_of_the_call() {
        let secret = NodeSecret { key_id: Uuid::max(), bytes: vec![5; 32] };
        let mut sealed = state(1);
        seal_preshared_keys(&mut sealed, Some(&secret)).unwrap();
        assert_eq!(sealed.sealed_with, Some(Uuid::max()));
        let text = sealed.interfaces[0].peers[0].preshared_key.clone().unwrap();
        let text = STANDARD.decode(text).unwrap();
        assert_eq!(seal::open(&secret.bytes, Uuid::nil().as_bytes(), &text).unwrap(), [7; 32]);
        assert!(seal::open(&secret.bytes, Uuid::max().as_bytes(), &text).is_err(), "of another peer");
        assert!(sealed.interfaces[0].peers[1].preshared_key.is_none());

        let mut plain = state(1);
        seal_preshared_keys(&mut plain, None).unwrap();
        assert_eq!(
            (plain.sealed_with, plain.interfaces[0].peers[0].preshared_key.as_deref()),
            (None, Some(STANDARD.encode([7; 32]).as_str()))
        );
        assert!(!format!("{secret:?}").contains("bytes"), "no secret in a log");
    }

    #[test]
    fn the_database_gets_neither_nonce_nor_wait_nor_digests() {
        let told = InterfaceReport { digest: Some("x".to_owned()), ..InterfaceReport::default() };
        let report =
            NodeReport { nonce: vec![1; 8], wait: 5, interfaces: vec![told], ..NodeReport::default() };
        let said = content(&report).unwrap();
        assert!(said.get("nonce").is_none() && said.get("wait").is_none(), "{said}");
        assert_eq!(said["interfaces"][0].get("digest"), None, "{said}");
    }
}
