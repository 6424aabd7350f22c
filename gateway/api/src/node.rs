//! Nodes: servers that host peers and workers. `GET`, `POST /api/nodes`, `GET /api/nodes/enabled`, `PATCH`,
//! `DELETE /api/nodes/{nodeId}`, `PUT /api/nodes/{nodeId}/device`, their WireGuard interfaces: `PUT`, `DELETE
//! /api/nodes/{nodeId}/interfaces/{name}`, and their secrets: `GET`, `POST`, `DELETE
//! /api/nodes/{nodeId}/secret`.
//!
//! A node is represented by the agent of the device that it is tied to. This agent makes the calls of
//! [`dnapi`](crate::dnapi) that every agent makes, and signs each of them with a secret of the node as well,
//! by HTTP Message Signatures (RFC 9421): headers `Content-Digest` (`sha-256`), `Signature-Input` and
//! `Signature`, algorithm `hmac-sha256`, over at least `@method`, `@path` and `content-digest`, with the
//! parameters `created`, `nonce` (16 to 64 characters, never used before) and `keyid`. A call of a node that
//! has a secret and lacks a good signature is refused with 401 and the code [`NODE_SIGNATURE`]. A proxy in
//! front of the gateway has to leave method, path and body as they are.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agent::Health;
use crate::double_option;
use crate::node_sync::Drift;

/// Code of the error of a call that lacks the signature of its node.
pub const NODE_SIGNATURE: &str = "ERR_NODE_SIGNATURE";

/// How recent the reports of a node are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Liveness {
    /// Its last report is recent.
    Healthy,
    /// Reports are overdue; it takes no new peers.
    Late,
    /// Without a report for so long that its peers should be moved to other nodes.
    Lost,
    /// It never reported, and counts as healthy.
    Unknown,
}

/// Whether a node is to take peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum DesiredState {
    /// Takes peers.
    Active,
    /// Takes no new peers; those it has are to be moved to other nodes.
    Draining,
    /// Takes no new peers; those it has stay.
    Disabled,
}

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Identifier.
    pub node_id: Uuid,
    /// Unique name.
    pub name: String,
    /// The project whose peers it hosts; null: any, until it is tied to a device.
    pub project_id: Option<Uuid>,
    /// Name of that project.
    pub project: Option<String>,
    /// Whether it is this server itself, which strategy `auto` does not choose.
    pub local: bool,
    /// `host:port` of its WireGuard on the underlay.
    pub endpoint: String,
    /// Relative strength, 1 to 10000.
    pub weight: i32,
    /// Limit of its peers.
    pub max_peers: i32,
    /// Above this number other nodes are preferred, and an event warns.
    pub soft_max_peers: Option<i32>,
    /// Its peers now, with those that it has not yet confirmed to be gone.
    pub active_peers: i32,
    /// Range of the addresses of its peers.
    pub cidr: Option<String>,
    /// Capabilities, for example `gpu`.
    pub capabilities: Vec<String>,
    /// Words of the administrator's, for strategy `label:KEY=VALUE`.
    pub labels: BTreeMap<String, String>,
    /// How recent its reports are.
    pub state: Liveness,
    /// Whether it is to take peers.
    pub desired_state: DesiredState,
    /// Whether its agent mends differences between an interface and what is wanted, or only reports them.
    pub repair: bool,
    /// Faults that keep it from forwarding, each with the command that helps.
    pub obstacles: Vec<String>,
    /// Its WireGuard interfaces, by name.
    pub interfaces: Vec<NodeInterface>,
    /// (active peers / limit) / weight; the node with the lowest score is chosen.
    pub score: f64,
    /// Whether it takes peers.
    pub eligible: bool,
    /// Why it takes none.
    pub reason: Option<String>,
    /// Device whose agent represents it.
    pub device_id: Option<Uuid>,
    /// Name of that device.
    pub device: Option<String>,
    /// Number of valid secrets for its calls: one, two during an exchange, none before the first.
    pub secrets: i64,
    /// Time of the last report; null: it never reported, and counts as healthy.
    pub seen_at: Option<DateTime<Utc>>,
    /// The last report.
    pub health: Option<Health>,
}

/// A WireGuard interface of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeInterface {
    /// Identifier.
    pub interface_id: Uuid,
    /// Its name on the node.
    pub name: String,
    /// UDP port.
    pub listen_port: i32,
    /// `host:port` that its peers connect to.
    pub endpoint: Option<String>,
    /// Its public key, base64; null until the agent has made the key pair.
    pub public_key: Option<String>,
    /// MTU of the interface and of its peers.
    pub mtu: i32,
    /// Name servers for its peers.
    pub dns: Vec<String>,
    /// Seconds between keep-alives of its peers; 0: none.
    pub keepalive: i32,
    /// Networks of the addresses of its peers.
    pub pools: Vec<String>,
    /// Counts changes of what is wanted on it.
    pub generation: i64,
    /// The generation that the agent has applied and read back.
    pub acknowledged_generation: i64,
    /// Why it does not run.
    pub error: Option<String>,
    /// How it differs from what is wanted.
    pub drift: Vec<Drift>,
}

/// Body of `PUT /api/nodes/{nodeId}/interfaces/{name}`: a new interface, or new values of the one with this
/// name; absent fields stay, or get their defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeInterfaceRequest {
    /// UDP port; 51820 for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// `host:port` for its peers; null: that of the node.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double_option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub endpoint: Option<Option<String>>,
    /// MTU of the interface and of its peers; 1280 for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Name servers for its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Vec<String>>,
    /// Seconds between keep-alives of its peers; 25 for a new one, 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<u16>,
    /// A network for the addresses of its peers, outside the overlay; chosen when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
}

/// Body of `PATCH /api/nodes/{nodeId}`: absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeChanges {
    /// Unique name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `host:port` of its WireGuard on the underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Relative strength, 1 to 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Limit of its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_peers: Option<i32>,
    /// Above this number other nodes are preferred; null: no such number.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double_option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i32>))]
    pub soft_max_peers: Option<Option<i32>>,
    /// Capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// All labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether its agent mends differences, or only reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<bool>,
    /// Whether it takes peers; those it has stay until they are moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<DesiredState>,
}

/// A node as every member may see it, to choose one for a new peer: `GET /api/nodes/enabled`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnabledNode {
    /// Identifier.
    pub node_id: Uuid,
    /// Unique name.
    pub name: String,
    /// How recent its reports are.
    pub state: Liveness,
    /// Its peers now.
    pub active_peers: i32,
    /// Limit of its peers.
    pub max_peers: i32,
    /// (active peers / limit) / weight; the node with the lowest score is chosen.
    pub score: f64,
    /// Whether it takes peers.
    pub eligible: bool,
    /// Why it takes none.
    pub reason: Option<String>,
    /// Whether it is this server itself.
    pub local: bool,
}

/// Body of `POST /api/nodes`: a new node, or new values of the one with this name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRequest {
    /// Unique name: a letter or digit, then up to 62 letters, digits, dots, underscores or dashes.
    pub name: String,
    /// `host:port` of its WireGuard on the underlay.
    pub endpoint: String,
    /// Relative strength, 1 to 10000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Limit of its peers; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_peers: Option<i32>,
    /// Range of the addresses of its peers; must not overlap another node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Capabilities, for example `gpu`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// Answer of `POST /api/nodes`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeId {
    /// The node.
    pub node_id: Uuid,
}

/// Body of `PUT /api/nodes/{nodeId}/device`: the device that represents the node; and of `PUT
/// /api/projects/{projectId}/local-device`: the device whose agent runs the interface of this server.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeDevice {
    /// The device; null ends the representation. Leaving it out is an error.
    #[serde(deserialize_with = "Option::deserialize")]
    pub device_id: Option<Uuid>,
}

/// Answer of `POST /api/nodes/{nodeId}/secret`, and the file that the agent keeps. The secret cannot be read
/// again.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewSecret {
    /// The node.
    pub node_id: Uuid,
    /// Identifies the secret in calls: parameter `keyid`.
    pub key_id: Uuid,
    /// 32 bytes in base64.
    #[cfg_attr(feature = "openapi", schema(format = Byte))]
    pub secret: String,
}

/// Leaves out the secret, which must not get into a log.
impl std::fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSecret")
            .field("node_id", &self.node_id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// A secret as `GET /api/nodes/{nodeId}/secret` shows it: without its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Identifies it in calls.
    pub key_id: Uuid,
    /// Name of the account that made it.
    pub made_by: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// Last call that was signed with it, to half a minute.
    pub used_at: Option<DateTime<Utc>>,
    /// When it was retired.
    pub retired_at: Option<DateTime<Utc>>,
}

/// Answer of `DELETE /api/nodes/{nodeId}/secret`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Retired {
    /// The secret that was retired.
    pub key_id: Uuid,
}
