//! Peers: WireGuard clients (phones, televisions, routers) that reach the overlay through a node.
//! `GET`, `POST /api/peers`, `PATCH`, `DELETE /api/peers/{peerId}`, `GET /api/peers/{peerId}/config`,
//! `POST /api/peers/move`, `DELETE /api/peers/{peerId}/move`, `POST /api/peers/remove`.
//!
//! The private key of a peer is made by its owner and never sent here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::double_option;

/// Stands in [`PeerConfig::conf`] where the client puts the private key it made.
pub const PRIVATE_KEY_PLACEHOLDER: &str = "<private key>";

/// Destinations that a peer sends into its tunnel: `AllowedIPs` of its `.conf`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// The overlay, the pools of peers, and the networks behind devices.
    #[default]
    Overlay,
    /// Everything: the node is its way to the internet, too, and to the private networks behind the node if an
    /// administrator created it.
    All,
    /// The networks that the peer lists.
    Listed,
}

/// A peer to create: an item of `POST /api/peers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPeer {
    /// Identifier that the caller chose; a repeated request of the same account with the same key answers the
    /// same peer. Random when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<Uuid>,
    /// Display name, unique in the project.
    pub name: String,
    /// WireGuard public key: 32 bytes in base64.
    pub public_key: String,
    /// Makes a preshared key, which [`PeerConfig`] shows and the node gets.
    #[serde(default)]
    pub preshared: bool,
    /// A preshared key that its client has already, instead of a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<PresharedKey>,
    /// Address of a pool of peers; the next free one of the node when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its destinations in the tunnel. Members may leave the overlay only where the project's option
    /// `memberReach` is `internet`, and never to private networks behind a node that they list.
    #[serde(default)]
    pub reach: Reach,
    /// The networks of reach `listed`, as CIDR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Groups that firewall rules of the project name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// From then on its node refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Created without access, until it is enabled.
    #[serde(default)]
    pub disabled: bool,
}

/// A preshared key: 32 bytes in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct PresharedKey(String);

impl From<String> for PresharedKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Leaves out the key, which must not get into a log.
impl std::fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresharedKey")
    }
}

/// Body of `POST /api/peers`: all items in one transaction, one result each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreatePeers {
    /// The project.
    pub project_id: Uuid,
    /// `auto` (lowest score), `random`, `local` (this server), a node by name or id, `capability:WORD`,
    /// `label:KEY=VALUE`.
    #[serde(default = "auto")]
    pub strategy: String,
    /// At most 1000.
    pub peers: Vec<NewPeer>,
    /// Seconds to wait for the node to apply them, at most 60; 503 and no peer if it does not. 0: answers at
    /// once, and the node follows.
    #[serde(default)]
    pub wait: u32,
}

fn auto() -> String {
    "auto".to_owned()
}

/// Body of `PATCH /api/peers/{peerId}`: absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerChanges {
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another key pair of its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// True makes a new preshared key, false removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared: Option<bool>,
    /// Its destinations in the tunnel; needs a new `.conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// The networks of reach `listed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Groups that firewall rules name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// From then on its node refuses it; null: never.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double_option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<DateTime<Utc>>))]
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// Whether its node refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Body of `POST /api/peers/move` and, without strategy, of `POST /api/peers/remove`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerChoice {
    /// The peers, at most 1000.
    pub peer_ids: Vec<Uuid>,
    /// Where to move them; as in [`CreatePeers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Seconds to wait for the nodes, at most 60.
    #[serde(default)]
    pub wait: u32,
}

/// The result of one item of a batch: a peer, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeerResult {
    /// Place of the item in the request, from 0.
    pub item: u32,
    /// The peer as it is now; absent if the item failed or the peer was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// Whether this request created the peer; false: an earlier one with the same identifier and key did.
    /// Absent where nothing was to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<bool>,
    /// Why the item failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

/// Why an item of a batch failed; the other items do not depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ItemError {
    /// SQLSTATE.
    pub sqlstate: String,
    /// The problem.
    pub detail: String,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a peer can connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum PeerState {
    /// Its node has not yet confirmed what is wanted.
    Pending,
    /// Its node has confirmed it.
    Active,
    /// The node has something else than is wanted.
    Drifted,
    /// The node refused it; [`Peer::reason`] says why.
    Refused,
    /// The other node of a move has it already, and it has not been seen there yet.
    Moving,
    /// Disabled or expired.
    Disabled,
    /// Being removed: the node has not yet confirmed that it is gone.
    Leaving,
    /// Its node does not report, so nothing is known.
    Unconfirmed,
}

/// A peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Identifier.
    pub peer_id: Uuid,
    /// The project.
    pub project_id: Uuid,
    /// Display name.
    pub name: String,
    /// Name of its `.conf` without the ending: at most 15 characters, which every WireGuard client takes.
    pub file_name: String,
    /// Its public key, base64.
    pub public_key: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<String>,
    /// The node that serves it; null: this server.
    pub node_id: Option<Uuid>,
    /// Name of that node; null: this server.
    pub node: Option<String>,
    /// The node that it moves to.
    pub moving_to: Option<String>,
    /// Its destinations in the tunnel.
    pub reach: Reach,
    /// The networks of reach `listed`.
    pub networks: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Whether it has a preshared key.
    pub preshared: bool,
    /// Whether it can connect.
    pub state: PeerState,
    /// Why it cannot connect.
    pub reason: Option<String>,
    /// Whether an administrator disabled it.
    pub disabled: bool,
    /// From then on its node refuses it.
    pub expires_at: Option<DateTime<Utc>>,
    /// Its `.conf` was handed out before something in it changed.
    pub config_outdated: bool,
    /// Last handshake with its node.
    pub handshake_at: Option<DateTime<Utc>>,
    /// Address that it last came from.
    pub endpoint: Option<String>,
    /// Bytes received from it, over all restarts.
    pub received_bytes: i64,
    /// Bytes sent to it.
    pub sent_bytes: i64,
    /// Account that created it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// The `.conf` of a peer: answer of `GET /api/peers/{peerId}/config`, never cached.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeerConfig {
    /// Name of the file, with the ending.
    pub file_name: String,
    /// The text of the file, with [`PRIVATE_KEY_PLACEHOLDER`] in the place of the private key.
    pub conf: String,
}

/// Leaves out the text, which can hold a preshared key.
impl std::fmt::Debug for PeerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerConfig").field("file_name", &self.file_name).finish_non_exhaustive()
    }
}
