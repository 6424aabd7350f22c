//! Message type `SyncNode` of [`dnapi`](crate::dnapi): the agent of a node says what its WireGuard
//! interfaces run, and learns what they are to run.
//!
//! The answer comes at once if something differs, else when something changes or `wait` is over. It holds
//! the peers that changed since the generation the agent has, or all of them (`base` 0) if the epoch is
//! another one. The agent counts a generation as applied only after it has read it back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dnapi::bytes;

/// Value of a `SyncNode` message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReport {
    /// Random, 8 to 64 bytes; the answer repeats it.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// Epoch of the last answer; null: none yet.
    pub epoch: Option<Uuid>,
    /// Seconds to wait for a change, at most 60.
    pub wait: u32,
    /// The interfaces of the last answer.
    pub interfaces: Vec<InterfaceReport>,
    /// Faults that keep this machine from forwarding, each with the command that helps.
    pub obstacles: Vec<String>,
}

/// State of one interface.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceReport {
    /// The interface.
    pub interface_id: Uuid,
    /// The generation that was applied and read back; 0: none.
    pub generation: i64,
    /// [`InterfaceState::digest`] of the state that the agent keeps; null: an agent that knows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Public key of the interface, whose private key is made on the node.
    pub public_key: Option<String>,
    /// Why the interface does not run.
    pub error: Option<String>,
    /// Peers of this generation that could not be applied.
    pub failed: Vec<FailedPeer>,
    /// Changes when the counters of the interface begin again at 0.
    pub counters: Option<Uuid>,
    /// Peers whose handshake, endpoint or counters changed since the last report.
    pub seen: Vec<SeenPeer>,
    /// All differences between the interface and what is wanted; with the policy `repair` those that were
    /// mended since the last report.
    pub drift: Vec<Drift>,
}

/// A peer that could not be applied.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FailedPeer {
    /// The peer.
    pub peer_id: Uuid,
    /// Why, in at most 300 characters.
    pub reason: String,
}

/// Handshake, endpoint and counters of a peer, as WireGuard tells them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SeenPeer {
    /// The peer.
    pub peer_id: Uuid,
    /// Last handshake; null: none since the interface came up.
    pub handshake_at: Option<DateTime<Utc>>,
    /// Where it came from.
    pub endpoint: Option<String>,
    /// Bytes received from it since the counters began.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
}

/// A difference between an interface and what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Key of the peer, base64.
    pub public_key: String,
    /// Kind of difference.
    pub kind: DriftKind,
    /// Allowed IPs that were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_ips: Vec<String>,
}

/// Kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// The interface has a peer that nobody wants.
    Unknown,
    /// A wanted peer is missing.
    Missing,
    /// A peer has other allowed IPs.
    AllowedIps,
    /// A peer has another preshared key, or one where none is wanted.
    PresharedKey,
}

/// Answer of `SyncNode`, inside a [`SignedAnswer`](crate::dnapi::SignedAnswer).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// The nonce of the report.
    #[serde(default, with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// Identifies the history of the database; another one after a restore.
    pub epoch: Uuid,
    /// Secret of the node that preshared keys are sealed with: the one that the call was signed with
    /// (`keyId`); null: the call was not signed by one, and they are plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_with: Option<Uuid>,
    /// All interfaces of the node; the agent removes those it made that are not in the list.
    pub interfaces: Vec<InterfaceState>,
}

/// Desired state of one interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InterfaceState {
    /// The interface.
    pub interface_id: Uuid,
    /// Its name, `[a-z0-9][a-z0-9-]{0,14}`.
    pub name: String,
    /// UDP port.
    pub listen_port: u16,
    /// Its own addresses with the prefix of their pools.
    pub addresses: Vec<String>,
    /// MTU.
    pub mtu: u32,
    /// The generation this answer leads to.
    pub generation: i64,
    /// The generation it starts from; 0: `peers` are all there are.
    pub base: i64,
    /// Peers that changed after `base`, or all.
    pub peers: Vec<DesiredPeer>,
    /// Number of wanted peers of this generation, so that an agent notices a lost change and asks for all
    /// (generation 0).
    pub wanted: i64,
    /// Whether the agent mends drift, or only reports it.
    pub repair: bool,
    /// Networks of the project that peers may reach through the overlay's interface.
    pub overlay: Vec<String>,
    /// Traffic that may be forwarded, whole.
    pub firewall: Vec<ForwardRule>,
    /// Addresses of peers that may use the node's way to the internet: everything but private networks.
    pub internet: Vec<String>,
    /// Networks outside of the overlay that peers may reach through the node, private ones too.
    #[serde(default)]
    pub networks: Vec<NetworkAccess>,
    /// Resolvers that peers get; those that run on the node answer them on port 53.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Fingerprint of all that no generation counts, such as the firewall. The agent repeats it in its next
    /// report, so that the gateway knows whether the agent has this state.
    #[serde(default)]
    pub digest: String,
}

/// A peer that an interface is to have, or not to have any more.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DesiredPeer {
    /// The peer.
    pub peer_id: Uuid,
    /// Its public key, base64.
    pub public_key: String,
    /// Its preshared key, base64; sealed for this peer if [`NodeState::sealed_with`] says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<String>,
    /// Its addresses: /32 and /128.
    pub allowed_ips: Vec<String>,
    /// True: the interface must not have it.
    #[serde(default)]
    pub absent: bool,
}

/// Leaves out the preshared key.
impl std::fmt::Debug for DesiredPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DesiredPeer")
            .field("peer_id", &self.peer_id)
            .field("public_key", &self.public_key)
            .field("allowed_ips", &self.allowed_ips)
            .field("absent", &self.absent)
            .finish_non_exhaustive()
    }
}

/// Networks outside of the overlay, and the peers that may reach them through the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkAccess {
    /// Addresses of the peers.
    pub sources: Vec<String>,
    /// The networks.
    pub destinations: Vec<String>,
}

/// Traffic that the node forwards between peers and the overlay; everything else is dropped, but for answers
/// to what was allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ForwardRule {
    /// True: from a peer to the overlay; false: from the overlay to a peer.
    pub from_peer: bool,
    /// Addresses or networks it comes from; empty: any.
    pub sources: Vec<String>,
    /// Addresses or networks it goes to; empty: any.
    pub destinations: Vec<String>,
    /// `any`, `tcp`, `udp` or `icmp` (ICMPv6 as well).
    pub protocol: String,
    /// First port; null: any.
    pub port_first: Option<u16>,
    /// Last port; null: only the first.
    pub port_last: Option<u16>,
}
