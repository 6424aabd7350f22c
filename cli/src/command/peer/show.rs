//! Peers as tables and pages.

use chrono::{DateTime, Utc};
use nebula_api::peer::{Peer, PeerState, Reach};

use crate::output::{Output, ago, bytes, clean};

pub(super) fn table(output: Output, peers: &[Peer]) -> String {
    let now = Utc::now();
    let rows = peers.iter().map(|peer| {
        [
            clean(&peer.name),
            output.state(word(peer.state)),
            place(peer),
            peer.addresses.join(" "),
            handshake(peer, now),
            size(peer.received_bytes),
            size(peer.sent_bytes),
            clean(&peer.groups.join(",")),
            peer.expires_at.map_or_else(|| "-".to_owned(), end),
            peer.peer_id.to_string(),
        ]
    });
    let headings =
        ["NAME", "STATE", "NODE", "ADDRESS", "HANDSHAKE", ">RECEIVED", ">SENT", "GROUPS", "EXPIRES", "ID"];
    output.table(headings, rows.collect())
}

/// Everything about one peer, a line each.
pub(super) fn page(output: Output, peer: &Peer) -> String {
    let now = Utc::now();
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let reason = peer.reason.as_deref().map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
    let mut lines = vec![
        ("Peer", clean(&peer.name)),
        ("State", format!("{}{reason}", output.state(word(peer.state)))),
        ("Node", place(peer)),
        ("Addresses", peer.addresses.join(", ")),
        ("Sends", reach(peer)),
        ("Groups", clean(&peer.groups.join(", "))),
        ("Public key", clean(&peer.public_key)),
        ("Preshared key", yes(peer.preshared)),
        ("Handshake", handshake(peer, now)),
        ("Comes from", clean(peer.endpoint.as_deref().unwrap_or("-"))),
        ("Received", size(peer.received_bytes)),
        ("Sent", size(peer.sent_bytes)),
        ("Expires", peer.expires_at.map_or_else(|| "never".to_owned(), end)),
        ("File", format!("{}.conf", clean(&peer.file_name))),
        ("Created", format!("{} by {}", ago(peer.created_at, now), clean(&peer.created_by))),
        ("Id", peer.peer_id.to_string()),
    ];
    if peer.config_outdated {
        lines.push((
            "Outdated",
            "its .conf was handed out before a change: nebulactl peer conf makes a new one".into(),
        ));
    }
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:<14} {value}")).collect::<Vec<_>>().join("\n")
}

/// The node that serves a peer, and the one it moves to.
pub(super) fn place(peer: &Peer) -> String {
    let node = clean(peer.node.as_deref().unwrap_or("this server"));
    match peer.moving_to.as_deref() {
        Some(target) => format!("{node} -> {}", clean(target)),
        None => node,
    }
}

pub(super) fn word(state: PeerState) -> &'static str {
    match state {
        PeerState::Pending => "pending",
        PeerState::Active => "active",
        PeerState::Drifted => "drifted",
        PeerState::Refused => "refused",
        PeerState::Moving => "moving",
        PeerState::Disabled => "disabled",
        PeerState::Leaving => "leaving",
        PeerState::Unconfirmed => "unconfirmed",
    }
}

fn handshake(peer: &Peer, now: DateTime<Utc>) -> String {
    peer.handshake_at.map_or_else(|| "-".to_owned(), |at| ago(at, now))
}

fn reach(peer: &Peer) -> String {
    match peer.reach {
        Reach::Overlay => "to the overlay".to_owned(),
        Reach::All => "everything".to_owned(),
        Reach::Listed => format!("to {}", clean(&peer.networks.join(", "))),
    }
}

fn size(count: i64) -> String {
    bytes(count.max(0).unsigned_abs())
}

fn end(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}
