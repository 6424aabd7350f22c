//! The wanted state of this node's interfaces, as the gateway last said: merged from answers, and kept on disk,
//! so that a node that starts without the gateway serves its peers.

use std::collections::{BTreeMap, BTreeSet};

use nebula_api::node_sync::{DesiredPeer, InterfaceState, NodeState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Code, Error, Result};

/// Longest name of an interface in the kernel.
const MAX_NAME: usize = 15;

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Desired {
    /// History of the database that the generations belong to.
    pub(super) epoch: Option<Uuid>,
    pub(super) interfaces: Vec<DesiredInterface>,
    /// Not wanted any more, and not yet removed.
    pub(super) leaving: Vec<Leaving>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leaving {
    pub(super) interface_id: Uuid,
    pub(super) name: String,
    /// By which the link is known as the agent's.
    pub(super) public_key: Option<String>,
}

impl From<DesiredInterface> for Leaving {
    fn from(one: DesiredInterface) -> Self {
        Self { interface_id: one.state.interface_id, name: one.state.name, public_key: one.public_key }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DesiredInterface {
    /// With all wanted peers, and none that are absent.
    pub(super) state: InterfaceState,
    /// The generation that was applied and read back; 0: none.
    #[serde(default)]
    pub(super) applied: i64,
    /// Public keys whose peers changed after that generation.
    #[serde(default)]
    pub(super) pending: BTreeSet<String>,
    /// Another one whenever the interface is made anew and counts from 0.
    pub(super) counters: Uuid,
    /// Public key of the interface when it was last up.
    #[serde(default)]
    pub(super) public_key: Option<String>,
    /// Public key that it is to have, for reports.
    #[serde(default)]
    pub(super) reported_key: Option<String>,
}

/// Effects of an answer.
#[derive(Default)]
pub(super) struct Merged {
    /// Whether anything is wanted otherwise than before.
    pub(super) changed: bool,
    /// Interfaces that are no longer wanted, or no longer by this name.
    pub(super) removed: Vec<DesiredInterface>,
    /// Interfaces of which this is not all: the next report must ask for the whole.
    pub(super) incomplete: BTreeSet<Uuid>,
}

impl Desired {
    /// Takes over an answer, or refuses it as a whole.
    pub(super) fn merge(&mut self, answer: NodeState) -> Result<Merged> {
        let same_epoch = self.epoch == Some(answer.epoch);
        for state in &answer.interfaces {
            check_name(&state.name)?;
            let known = self.interfaces.iter().find(|one| one.state.interface_id == state.interface_id);
            if let Some(known) = known.filter(|known| same_epoch && known.state.generation > state.generation)
            {
                return Err(Error::new(
                    Code::Protocol,
                    format!(
                        "the gateway's answer is not used: it is older than what {} runs: generation {} after {}",
                        state.name, state.generation, known.state.generation
                    ),
                ));
            }
        }
        let mut merged = Merged { changed: !same_epoch, ..Merged::default() };
        let mut before: BTreeMap<Uuid, DesiredInterface> =
            self.interfaces.drain(..).map(|one| (one.state.interface_id, one)).collect();
        for state in answer.interfaces {
            let id = state.interface_id;
            let known = before.remove(&id);
            self.interfaces.extend(merge_interface(known, state, same_epoch, &mut merged));
        }
        merged.changed |= !before.is_empty();
        merged.removed.extend(before.into_values());
        // Until all is there, the old epoch tells the gateway to send it.
        if merged.incomplete.is_empty() {
            self.epoch = Some(answer.epoch);
        }
        Ok(merged)
    }
}

fn merge_interface(
    known: Option<DesiredInterface>,
    mut state: InterfaceState,
    same_epoch: bool,
    merged: &mut Merged,
) -> Option<DesiredInterface> {
    // Peers are named with all that is wanted of them, so that a base before the known generation does no harm.
    let base_is_known =
        known.as_ref().is_some_and(|known| same_epoch && state.base <= known.state.generation);
    if state.base != 0 && !base_is_known {
        merged.incomplete.insert(state.interface_id);
        return known;
    }
    let old = known.as_ref().map(|known| by_id(&known.state.peers)).unwrap_or_default();
    let mut peers = if state.base == 0 { BTreeMap::new() } else { old.clone() };
    for peer in std::mem::take(&mut state.peers) {
        if peer.absent {
            peers.remove(&peer.peer_id);
        } else {
            peers.insert(peer.peer_id, peer);
        }
    }
    if state.base != 0 && i64::try_from(peers.len()) != Ok(state.wanted) {
        merged.incomplete.insert(state.interface_id);
        return known;
    }
    let pending = changed_keys(&old, &peers);
    (state.base, state.peers) = (0, peers.into_values().collect());
    let Some(mut next) = known else {
        merged.changed = true;
        let counters = Uuid::new_v4();
        return Some(DesiredInterface {
            state,
            applied: 0,
            pending,
            counters,
            public_key: None,
            reported_key: None,
        });
    };
    if next.state.name != state.name {
        merged.removed.push(next.clone());
    }
    merged.changed |= next.state.generation != state.generation || !same_but_peers(&next.state, &state);
    merged.changed |= !pending.is_empty();
    if !same_epoch {
        // Generations of another history cannot be compared.
        next.applied = 0;
    }
    next.pending.extend(pending);
    next.state = state;
    Some(next)
}

/// Whether two states want the same of the interface itself.
fn same_but_peers(one: &InterfaceState, other: &InterfaceState) -> bool {
    let parts = |state: &InterfaceState| {
        (
            (state.name.clone(), state.listen_port, state.addresses.clone(), state.mtu, state.repair),
            (state.overlay.clone(), state.firewall.clone(), state.internet.clone(), state.networks.clone()),
            (state.dns.clone(), state.digest.clone()),
        )
    };
    parts(one) == parts(other)
}

fn by_id(peers: &[DesiredPeer]) -> BTreeMap<Uuid, DesiredPeer> {
    peers.iter().map(|peer| (peer.peer_id, peer.clone())).collect()
}

/// Public keys of peers that were added, removed or changed.
fn changed_keys(old: &BTreeMap<Uuid, DesiredPeer>, new: &BTreeMap<Uuid, DesiredPeer>) -> BTreeSet<String> {
    let parts =
        |peer: &DesiredPeer| (peer.public_key.clone(), peer.preshared_key.clone(), peer.allowed_ips.clone());
    let differs = |peer: &&DesiredPeer, other: &BTreeMap<Uuid, DesiredPeer>| {
        other.get(&peer.peer_id).map(parts) != Some(parts(peer))
    };
    let gone = old.values().filter(|peer| differs(peer, new));
    let come = new.values().filter(|peer| differs(peer, old));
    gone.chain(come).map(|peer| peer.public_key.clone()).collect()
}

/// Names go into commands of nft and ip.
fn check_name(name: &str) -> Result<()> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let sound = name.len() <= MAX_NAME
        && name.starts_with(plain)
        && name.chars().all(|letter| plain(letter) || letter == '-')
        && !matches!(name, "lo" | "all" | "default");
    if sound {
        return Ok(());
    }
    Err(Error::new(Code::Protocol, "the gateway's answer is not used: it names an interface wrongly"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::agent::wireguard) fn peer(number: u8) -> DesiredPeer {
        DesiredPeer {
            peer_id: Uuid::from_u128(number.into()),
            public_key: super::super::key::PublicKey::new([number; 32]).to_string(),
            preshared_key: None,
            allowed_ips: vec![format!("10.77.0.{number}/32")],
            absent: false,
        }
    }

    pub(in crate::agent::wireguard) fn state(
        base: i64,
        generation: i64,
        peers: &[DesiredPeer],
    ) -> InterfaceState {
        InterfaceState {
            interface_id: Uuid::from_u128(77),
            name: "wg0".to_owned(),
            listen_port: 51820,
            addresses: vec!["10.77.0.1/24".to_owned()],
            mtu: 1280,
            generation,
            base,
            peers: peers.to_vec(),
            wanted: peers.iter().filter(|peer| !peer.absent).count().try_into().unwrap(),
            repair: true,
            overlay: vec!["10.42.0.0/16".to_owned()],
            firewall: Vec::new(),
            internet: Vec::new(),
            networks: Vec::new(),
            dns: Vec::new(),
            digest: String::new(),
        }
    }

    fn answer(epoch: u128, interfaces: Vec<InterfaceState>) -> NodeState {
        serde_json::from_value(serde_json::json!({
            "nonce": "", "epoch": Uuid::from_u128(epoch), "interfaces": interfaces
        }))
        .unwrap()
    }

    fn numbers(desired: &Desired) -> Vec<u128> {
        desired.interfaces[0].state.peers.iter().map(|peer| peer.peer_id.as_u128()).collect()
    }

    fn started() -> Desired {
        let mut desired = Desired::default();
        let merged = desired.merge(answer(1, vec![state(0, 5, &[peer(1), peer(2)])])).unwrap();
        assert!(merged.changed && merged.incomplete.is_empty());
        desired.interfaces[0].applied = 5;
        desired.interfaces[0].pending.clear();
        desired
    }

    #[test]
    fn changes_are_merged_and_only_their_peers_are_pending() {
        let mut desired = started();
        let gone = DesiredPeer { absent: true, ..peer(1) };
        let mut next = state(5, 6, &[gone, peer(3)]);
        next.wanted = 2;
        assert!(desired.merge(answer(1, vec![next])).unwrap().changed);
        assert_eq!(numbers(&desired), [2, 3]);
        let pending: Vec<&String> = desired.interfaces[0].pending.iter().collect();
        assert_eq!(pending, [&peer(1).public_key, &peer(3).public_key]);
        assert_eq!(desired.interfaces[0].applied, 5);
        // From a base that the agent has passed already.
        let mut again = state(4, 6, &[peer(3)]);
        again.wanted = 2;
        assert!(!desired.merge(answer(1, vec![again])).unwrap().changed);
    }

    #[test]
    fn an_older_generation_is_refused_unless_the_database_is_another_one() {
        let mut desired = started();
        let older = || vec![state(0, 4, &[peer(9)])];
        let error = desired.merge(answer(1, older())).map(drop).unwrap_err();
        assert!(error.to_string().contains("generation 4 after 5"), "{error}");
        assert_eq!(numbers(&desired), [1, 2]);
        assert!(desired.merge(answer(2, older())).unwrap().changed);
        assert_eq!((numbers(&desired), desired.interfaces[0].applied), (vec![9], 0));
    }

    #[test]
    fn a_lost_change_is_noticed_and_the_whole_is_asked_for() {
        let mut desired = started();
        let mut short = state(5, 7, &[peer(3)]);
        short.wanted = 4;
        let from_the_future = state(6, 7, &[]);
        for wrong in [short, from_the_future] {
            let merged = desired.merge(answer(1, vec![wrong])).unwrap();
            assert!(!merged.changed && merged.incomplete.contains(&Uuid::from_u128(77)));
            assert_eq!((numbers(&desired), desired.interfaces[0].state.generation), (vec![1, 2], 5));
        }
        // Changes that count from another history are no whole either.
        let merged = desired.merge(answer(2, vec![state(5, 6, &[])])).unwrap();
        assert_eq!((merged.incomplete.len(), desired.epoch), (1, Some(Uuid::from_u128(1))));
    }

    #[test]
    fn interfaces_that_are_not_named_any_more_or_otherwise_are_removed() {
        let mut desired = started();
        let mut renamed = state(5, 6, &[]);
        (renamed.name, renamed.wanted) = ("wg1".to_owned(), 2);
        let merged = desired.merge(answer(1, vec![renamed])).unwrap();
        assert_eq!((merged.removed[0].state.name.as_str(), numbers(&desired)), ("wg0", vec![1, 2]));
        let merged = desired.merge(answer(1, Vec::new())).unwrap();
        assert_eq!((merged.removed[0].state.name.as_str(), merged.changed), ("wg1", true));
        assert!(desired.interfaces.is_empty());
    }

    #[test]
    fn names_that_a_command_could_misread_are_refused() {
        for wrong in ["", "-x", "wg0;", "wg 0", "WG0", "a/b", "sixteen-letters-", "lo", "wg0\nx"] {
            let mut odd = state(0, 1, &[]);
            odd.name = wrong.to_owned();
            assert!(Desired::default().merge(answer(1, vec![odd])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stored_state_is_read_back() {
        let desired = started();
        let read: Desired = serde_json::from_str(&serde_json::to_string(&desired).unwrap()).unwrap();
        assert_eq!((read.epoch, numbers(&read), read.interfaces[0].applied), (desired.epoch, vec![1, 2], 5));
    }
}
