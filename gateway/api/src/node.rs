//! Nodes: servers that host peers and workers. `GET`, `POST /api/nodes`, `PUT /api/nodes/{nodeId}/device`,
//! and their secrets: `GET`, `POST`, `DELETE /api/nodes/{nodeId}/secret`.
//!
//! A node is represented by the agent of the device that it is tied to. This agent makes the calls of
//! [`dnapi`](crate::dnapi) that every agent makes, and signs each of them with a secret of the node as well,
//! by HTTP Message Signatures (RFC 9421): headers `Content-Digest` (`sha-256`), `Signature-Input` and
//! `Signature`, algorithm `hmac-sha256`, over at least `@method`, `@path` and `content-digest`, with the
//! parameters `created`, `nonce` (16 to 64 characters, never used before) and `keyid`. A call of a node that
//! has a secret and lacks a good signature is refused with 401 and the code [`NODE_SIGNATURE`]. A proxy in
//! front of the gateway has to leave method, path and body as they are.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agent::Health;

/// Code of the error of a call that lacks the signature of its node.
pub const NODE_SIGNATURE: &str = "ERR_NODE_SIGNATURE";

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Identifier.
    pub node_id: Uuid,
    /// Unique name.
    pub name: String,
    /// `host:port` of its WireGuard on the underlay.
    pub endpoint: String,
    /// Relative strength, 1 to 10000.
    pub weight: i32,
    /// Limit of its peers.
    pub max_peers: i32,
    /// Its peers now.
    pub active_peers: i32,
    /// Range of the addresses of its peers.
    pub cidr: Option<String>,
    /// Capabilities, for example `gpu`.
    pub capabilities: Vec<String>,
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

/// Body of `PUT /api/nodes/{nodeId}/device`: the device that represents the node.
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
