//! Differences between the wanted peers of an interface and those that it has. Does no input or output.
//!
//! Only what differs is changed: a peer that is replaced, even by the same, loses its session, and its client
//! needs 15 s to notice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use nebula_api::node_sync::{DesiredPeer, Drift, DriftKind, FailedPeer};
use uuid::Uuid;

use super::backend::{Observed, ObservedPeer, PeerChange};
use super::key::{PublicKey, SecretKey};

/// Seconds between packets to a peer whose last endpoint was given back, so that the node starts the handshake.
const KEEPALIVE: u16 = 25;
/// Longest reason of a failed peer, in characters.
const MAX_REASON: usize = 300;

pub(super) struct Wanted {
    pub(super) peer_id: Uuid,
    pub(super) preshared: Option<SecretKey>,
    pub(super) allowed_ips: BTreeSet<IpNetwork>,
}

pub(super) type WantedPeers = BTreeMap<PublicKey, Wanted>;

/// Parses wanted peers; those that no interface could have come second. `own` is the key of the interface,
/// which WireGuard ignores as a peer without an error.
pub(super) fn wanted<'a>(
    peers: impl Iterator<Item = &'a DesiredPeer>,
    own: Option<PublicKey>,
) -> (WantedPeers, Vec<FailedPeer>) {
    let (mut wanted, mut failed) = (WantedPeers::new(), Vec::new());
    for peer in peers {
        match parse(peer, own) {
            Ok((key, one)) => drop(wanted.insert(key, one)),
            Err(reason) => failed.push(failed_peer(peer.peer_id, reason)),
        }
    }
    (wanted, failed)
}

fn parse(peer: &DesiredPeer, own: Option<PublicKey>) -> Result<(PublicKey, Wanted), &'static str> {
    let key = PublicKey::parse(&peer.public_key).ok_or("its public key is not 32 bytes in base64")?;
    if key.is_zero() {
        return Err("its public key is all zeros");
    }
    if Some(key) == own {
        return Err("its public key is that of the node");
    }
    let preshared = peer
        .preshared_key
        .as_deref()
        .map(|text| SecretKey::parse(text).ok_or("its preshared key is not 32 bytes in base64"));
    let networks = peer.allowed_ips.iter().map(|text| text.parse().ok().and_then(masked));
    let allowed_ips = networks.collect::<Option<BTreeSet<_>>>().ok_or("one of its addresses is none")?;
    Ok((key, Wanted { peer_id: peer.peer_id, preshared: preshared.transpose()?, allowed_ips }))
}

/// WireGuard keeps networks without the bits of a host.
fn masked(network: IpNetwork) -> Option<IpNetwork> {
    IpNetwork::new(network.network(), network.prefix()).ok()
}

pub(super) fn failed_peer(peer_id: Uuid, reason: &str) -> FailedPeer {
    FailedPeer { peer_id, reason: reason.chars().take(MAX_REASON).collect() }
}

/// The changes that lead from the observed peers to the wanted ones: first those that free an address. With a
/// `scope` only these peers change. `endpoints` are given to peers that the interface does not have yet; while
/// `reviving`, keep-alives that this set stay, afterwards they are taken away.
pub(super) fn changes(
    wanted: &WantedPeers,
    observed: &Observed,
    scope: Option<&BTreeSet<PublicKey>>,
    endpoints: &BTreeMap<Uuid, SocketAddr>,
    reviving: bool,
) -> Vec<PeerChange> {
    let in_scope = |key: &PublicKey| scope.is_none_or(|scope| scope.contains(key));
    let unwanted = observed.peers.keys().filter(|key| !wanted.contains_key(key) && in_scope(key));
    let removed = unwanted.map(|key| PeerChange { remove: true, ..PeerChange::of(*key) });
    let others = wanted.iter().filter(|(key, _)| in_scope(key)).filter_map(|(key, wanted)| {
        match observed.peers.get(key) {
            Some(found) => changed(*key, wanted, found, reviving),
            None => Some(added(*key, wanted, endpoints)),
        }
    });
    removed.chain(others).collect()
}

fn added(key: PublicKey, wanted: &Wanted, endpoints: &BTreeMap<Uuid, SocketAddr>) -> PeerChange {
    let endpoint = endpoints.get(&wanted.peer_id).copied();
    PeerChange {
        preshared: Some(wanted.preshared.clone()),
        allowed_ips: Some(wanted.allowed_ips.clone()),
        endpoint,
        keepalive: endpoint.map(|_| KEEPALIVE),
        ..PeerChange::of(key)
    }
}

fn changed(key: PublicKey, wanted: &Wanted, found: &ObservedPeer, reviving: bool) -> Option<PeerChange> {
    let change = PeerChange {
        preshared: (found.preshared != wanted.preshared).then(|| wanted.preshared.clone()),
        allowed_ips: (found.allowed_ips != wanted.allowed_ips).then(|| wanted.allowed_ips.clone()),
        keepalive: (found.keepalive != 0 && !reviving).then_some(0),
        ..PeerChange::of(key)
    };
    let same = change.preshared.is_none() && change.allowed_ips.is_none() && change.keepalive.is_none();
    (!same).then_some(change)
}

/// All differences but those of peers in `ignored`. The keep-alive is the agent's own matter.
pub(super) fn differences(
    wanted: &WantedPeers,
    observed: &Observed,
    ignored: &BTreeSet<PublicKey>,
) -> BTreeMap<PublicKey, Vec<Drift>> {
    let mut found: BTreeMap<PublicKey, Vec<Drift>> = BTreeMap::new();
    let mut note = |key: &PublicKey, kind, peer: Option<&ObservedPeer>| {
        let allowed_ips = peer.into_iter().flat_map(|peer| &peer.allowed_ips);
        let allowed_ips = allowed_ips.map(ToString::to_string).collect();
        found.entry(*key).or_default().push(Drift { public_key: key.to_string(), kind, allowed_ips });
    };
    for (key, peer) in observed.peers.iter().filter(|(key, _)| !ignored.contains(key)) {
        match wanted.get(key) {
            None => note(key, DriftKind::Unknown, Some(peer)),
            Some(wanted) => {
                if wanted.allowed_ips != peer.allowed_ips {
                    note(key, DriftKind::AllowedIps, Some(peer));
                }
                if wanted.preshared != peer.preshared {
                    note(key, DriftKind::PresharedKey, Some(peer));
                }
            }
        }
    }
    for key in wanted.keys().filter(|key| !ignored.contains(key) && !observed.peers.contains_key(key)) {
        note(key, DriftKind::Missing, None);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::new([byte; 32])
    }

    fn desired(byte: u8, addresses: &[&str]) -> DesiredPeer {
        DesiredPeer {
            peer_id: Uuid::from_u128(byte.into()),
            public_key: key(byte).to_string(),
            preshared_key: None,
            allowed_ips: addresses.iter().map(ToString::to_string).collect(),
            absent: false,
        }
    }

    fn peers(all: &[DesiredPeer]) -> WantedPeers {
        let (wanted, failed) = wanted(all.iter(), None);
        assert_eq!(failed.len(), 0);
        wanted
    }

    fn found(addresses: &[&str]) -> ObservedPeer {
        let allowed_ips = addresses.iter().map(|one| one.parse().unwrap()).collect();
        ObservedPeer { allowed_ips, ..ObservedPeer::default() }
    }

    fn all(wanted: &WantedPeers, observed: &Observed) -> Vec<PeerChange> {
        changes(wanted, observed, None, &BTreeMap::new(), false)
    }

    #[test]
    fn a_peer_that_is_as_wanted_is_not_touched() {
        let wanted = peers(&[desired(1, &["10.77.0.9/32", "fd77::9/128"])]);
        let mut observed = Observed::default();
        observed.peers.insert(key(1), found(&["fd77::9/128", "10.77.0.9/32"]));
        assert!(all(&wanted, &observed).is_empty());
        assert!(differences(&wanted, &observed, &BTreeSet::new()).is_empty());
    }

    #[test]
    fn only_what_differs_is_sent_and_what_frees_an_address_comes_first() {
        let mut second = desired(2, &["10.77.0.2/32"]);
        second.preshared_key = Some(key(9).to_string());
        let wanted = peers(&[desired(1, &["10.77.0.1/32"]), second, desired(3, &["10.77.0.3/32"])]);
        let mut observed = Observed::default();
        observed.peers.insert(key(1), found(&["10.77.0.3/32"]));
        observed.peers.insert(key(2), found(&["10.77.0.2/32"]));
        observed.peers.insert(key(7), found(&["10.77.0.1/32"]));
        let changes = all(&wanted, &observed);
        let keys: Vec<PublicKey> = changes.iter().map(|change| change.key).collect();
        assert_eq!(keys, [key(7), key(1), key(2), key(3)]);
        assert!(changes[0].remove && !changes[1].remove);
        assert!(changes[1].allowed_ips.is_some() && changes[1].preshared.is_none());
        assert!(changes[2].allowed_ips.is_none() && changes[2].preshared.is_some());
        assert!(changes[3].allowed_ips.is_some() && changes[3].endpoint.is_none());
        let kinds: Vec<DriftKind> = differences(&wanted, &observed, &BTreeSet::from([key(2)]))
            .into_values()
            .flatten()
            .map(|drift| drift.kind)
            .collect();
        assert_eq!(kinds, [DriftKind::AllowedIps, DriftKind::Missing, DriftKind::Unknown]);
    }

    #[test]
    fn without_repair_only_peers_in_scope_change() {
        let wanted = peers(&[desired(1, &["10.77.0.1/32"]), desired(2, &["10.77.0.2/32"])]);
        let mut observed = Observed::default();
        observed.peers.insert(key(7), found(&[]));
        observed.peers.insert(key(8), found(&[]));
        let scope = BTreeSet::from([key(2), key(8)]);
        let changes = changes(&wanted, &observed, Some(&scope), &BTreeMap::new(), false);
        assert_eq!(changes.iter().map(|change| change.key).collect::<Vec<_>>(), [key(8), key(2)]);
    }

    #[test]
    fn a_new_interface_gives_last_endpoints_back_and_takes_the_keepalive_away_later() {
        let wanted = peers(&[desired(1, &["10.77.0.1/32"])]);
        let endpoints = BTreeMap::from([(Uuid::from_u128(1), "192.0.2.7:40000".parse().unwrap())]);
        let added = changes(&wanted, &Observed::default(), None, &endpoints, true);
        assert_eq!((added[0].endpoint, added[0].keepalive), (Some(endpoints[&Uuid::from_u128(1)]), Some(25)));
        let mut observed = Observed::default();
        observed.peers.insert(key(1), ObservedPeer { keepalive: 25, ..found(&["10.77.0.1/32"]) });
        assert!(changes(&wanted, &observed, None, &endpoints, true).is_empty());
        let later = changes(&wanted, &observed, None, &endpoints, false);
        assert_eq!((later[0].keepalive, later[0].endpoint), (Some(0), None));
        assert!(later[0].allowed_ips.is_none(), "the session stays");
    }

    #[test]
    fn peers_that_wireguard_would_ignore_or_misread_fail_with_a_reason() {
        let mut preshared = desired(4, &[]);
        preshared.preshared_key = Some("AAAA".to_owned());
        let mut odd = desired(5, &[]);
        odd.public_key = "x\nremove=true".to_owned();
        let all = [
            desired(0, &[]),
            desired(3, &[]),
            preshared,
            odd,
            desired(6, &["10.0.0.0/33"]),
            desired(7, &["10.5.5.5/24"]),
        ];
        let (wanted, failed) = wanted(all.iter(), Some(key(3)));
        let reasons: Vec<&str> = failed.iter().map(|peer| peer.reason.as_str()).collect();
        for (reason, word) in
            reasons.iter().zip(["zeros", "of the node", "preshared", "public key", "addresses"])
        {
            assert!(reason.contains(word), "{reasons:?}");
        }
        assert_eq!(reasons.len(), 5);
        let networks: Vec<String> = wanted[&key(7)].allowed_ips.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.5.5.0/24"]);
        assert_eq!(failed_peer(Uuid::nil(), &"ä".repeat(400)).reason.chars().count(), 300);
    }
}
