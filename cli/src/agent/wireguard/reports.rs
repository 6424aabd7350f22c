//! Reports of a node to the gateway: only peers that changed since the last report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{TimeDelta, Utc};
use nebula_api::node_sync::{Drift, InterfaceReport, NodeReport, SeenPeer};
use uuid::Uuid;

use super::InterfaceStatus;
use super::desired::{Desired, DesiredInterface};
use super::interface::Interface;
use super::link;

/// Peers in a report; a call of the protocol may have 1 MiB.
const MAX_SEEN: usize = 1000;
const MAX_DRIFT: usize = 200;
/// Handshakes come every two minutes while packets flow.
const ONLINE: TimeDelta = TimeDelta::minutes(3);

#[derive(Default)]
pub(super) struct Reports {
    /// The last report that was sent and not lost.
    last: Option<NodeReport>,
    /// Each peer as it was last told, and the number of that report.
    seen: HashMap<Uuid, (SeenPeer, u64)>,
    number: u64,
}

impl Reports {
    pub(super) fn compose(
        &self,
        desired: &Desired,
        interfaces: &BTreeMap<Uuid, Interface>,
        incomplete: &BTreeSet<Uuid>,
        obstacles: &[String],
    ) -> NodeReport {
        let mut room = MAX_SEEN;
        let reports = desired.interfaces.iter().map(|desired| {
            let id = desired.state.interface_id;
            let mut report = InterfaceReport {
                interface_id: id,
                generation: if incomplete.contains(&id) { 0 } else { desired.applied },
                digest: Some(desired.state.digest.clone()),
                public_key: desired.reported_key.clone(),
                counters: Some(desired.counters),
                ..InterfaceReport::default()
            };
            if let Some(interface) = interfaces.get(&id) {
                let condition = interface.condition();
                report.error = condition.error.map(str::to_owned);
                report.failed = condition.failed.to_vec();
                report.drift = condition.drift.into_iter().take(MAX_DRIFT).collect();
                report.seen = self.changed(condition.seen, room);
                room -= report.seen.len();
            }
            report
        });
        NodeReport {
            epoch: desired.epoch,
            interfaces: reports.collect(),
            obstacles: obstacles.to_vec(),
            ..NodeReport::default()
        }
    }

    /// Peers that changed since they were told: first those with a first handshake, then those that were told
    /// longest ago.
    fn changed(&self, seen: &HashMap<Uuid, SeenPeer>, room: usize) -> Vec<SeenPeer> {
        let told = |peer: &SeenPeer| self.seen.get(&peer.peer_id);
        let differs = |peer: &&SeenPeer| told(peer).is_none_or(|(before, _)| parts(before) != parts(peer));
        let mut changed: Vec<&SeenPeer> = seen.values().filter(differs).collect();
        changed.sort_by_key(|peer| (!self.is_first_handshake(peer), told(peer).map(|(_, number)| *number)));
        changed.into_iter().take(room).cloned().collect()
    }

    fn is_first_handshake(&self, peer: &SeenPeer) -> bool {
        let before = self.seen.get(&peer.peer_id).and_then(|(before, _)| before.handshake_at);
        peer.handshake_at.is_some() && before.is_none()
    }

    /// A report is on its way; what it says is not said again unless it is lost.
    pub(super) fn sent(&mut self, report: &NodeReport) {
        self.number += 1;
        for peer in report.interfaces.iter().flat_map(|interface| &interface.seen) {
            self.seen.insert(peer.peer_id, (peer.clone(), self.number));
        }
        self.last = Some(report.clone());
    }

    /// A report may not have arrived.
    pub(super) fn lost(&mut self, report: &NodeReport) {
        for peer in report.interfaces.iter().flat_map(|interface| &interface.seen) {
            self.seen.remove(&peer.peer_id);
        }
        self.last = None;
    }

    /// Whether a report says more than new counters.
    pub(super) fn is_news(&self, report: &NodeReport) -> bool {
        let Some(last) = &self.last else { return true };
        let mut seen = report.interfaces.iter().flat_map(|interface| &interface.seen);
        outline(last) != outline(report) || seen.any(|peer| self.is_first_handshake(peer))
    }
}

/// The parts of a peer that are told.
fn parts(peer: &SeenPeer) -> impl PartialEq + use<> {
    (peer.handshake_at, peer.endpoint.clone(), peer.received_bytes, peer.sent_bytes)
}

/// The parts of a report that are told at once.
fn outline(report: &NodeReport) -> impl PartialEq + use<> {
    let interface = |one: &InterfaceReport| {
        let failed: Vec<(Uuid, String)> =
            one.failed.iter().map(|peer| (peer.peer_id, peer.reason.clone())).collect();
        let drift: Vec<Drift> = one.drift.clone();
        ((one.interface_id, one.generation, one.public_key.clone()), (one.error.clone(), failed, drift))
    };
    (report.interfaces.iter().map(interface).collect::<Vec<_>>(), report.obstacles.clone())
}

pub(super) fn status(interface: &Interface, desired: &DesiredInterface) -> InterfaceStatus {
    let condition = interface.condition();
    let oldest = Utc::now() - ONLINE;
    let online = condition.seen.values().filter(|peer| peer.handshake_at.is_some_and(|at| at > oldest));
    InterfaceStatus {
        name: desired.state.name.clone(),
        listen_port: desired.state.listen_port,
        in_kernel: condition.kind == Some(link::Kind::Kernel),
        generation: desired.state.generation,
        applied: desired.applied,
        peers: desired.state.peers.len(),
        online: online.count(),
        drift: condition.drift.len(),
        error: condition.error.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(number: u128, handshake: Option<i64>, bytes: u64) -> SeenPeer {
        SeenPeer {
            peer_id: Uuid::from_u128(number),
            handshake_at: handshake.and_then(|at| chrono::DateTime::from_timestamp(at, 0)),
            received_bytes: bytes,
            ..SeenPeer::default()
        }
    }

    fn report(peers: Vec<SeenPeer>) -> NodeReport {
        NodeReport {
            interfaces: vec![InterfaceReport { generation: 7, seen: peers, ..InterfaceReport::default() }],
            ..NodeReport::default()
        }
    }

    #[test]
    fn only_changes_are_told_and_first_handshakes_at_once() {
        let mut reports = Reports::default();
        let all = |peers: &[SeenPeer]| peers.iter().map(|peer| (peer.peer_id, peer.clone())).collect();
        let first = [seen(1, None, 0), seen(2, Some(5), 10)];
        assert_eq!(reports.changed(&all(&first), 10).len(), 2);
        assert!(reports.is_news(&report(Vec::new())), "nothing has arrived yet");
        reports.sent(&report(first.to_vec()));
        assert!(reports.changed(&all(&first), 10).is_empty());
        let counters = [seen(1, None, 0), seen(2, Some(6), 20)];
        let changed = reports.changed(&all(&counters), 10);
        assert_eq!((changed.len(), reports.is_news(&report(changed))), (1, false));
        let handshake = [seen(1, Some(7), 1), seen(2, Some(6), 20)];
        let changed = reports.changed(&all(&handshake), 1);
        assert_eq!(changed[0].peer_id, Uuid::from_u128(1), "the first handshake comes first");
        assert!(reports.is_news(&report(changed)));
        let mut failed = report(Vec::new());
        failed.interfaces[0].error = Some("UDP port 51820 is taken".to_owned());
        assert!(reports.is_news(&failed));
        let handshake = all(&handshake);
        let changed = reports.changed(&handshake, 10);
        reports.sent(&report(changed.clone()));
        assert!(reports.changed(&handshake, 10).is_empty() && !reports.is_news(&report(Vec::new())));
        reports.lost(&report(changed.clone()));
        assert_eq!(reports.changed(&handshake, 10).len(), changed.len());
        assert!(reports.is_news(&report(changed)), "told again at once");
    }

    #[test]
    fn peers_beyond_the_room_come_next() {
        let mut reports = Reports::default();
        let all: HashMap<Uuid, SeenPeer> =
            (0..5).map(|number| (Uuid::from_u128(number), seen(number, Some(1), 1))).collect();
        let mut told = BTreeSet::new();
        for round in 0..5 {
            let now: HashMap<Uuid, SeenPeer> =
                all.iter().map(|(id, peer)| (*id, SeenPeer { sent_bytes: round, ..peer.clone() })).collect();
            let changed = reports.changed(&now, 1);
            told.extend(changed.iter().map(|peer| peer.peer_id));
            reports.sent(&report(changed));
        }
        assert_eq!(told.len(), 5, "none starves");
    }
}
