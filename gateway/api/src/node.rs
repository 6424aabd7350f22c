//! Nodes: servers that host peers and workers. `GET`, `POST /api/nodes`, `PUT /api/nodes/{nodeId}/device`,
//! and their secrets: `GET`, `POST`, `DELETE /api/nodes/{nodeId}/secret`.
//!
//! The agent of the device that a node is tied to speaks for it: it makes the calls of
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

/// Code of the refusal of a call that its node has not signed, in the protocol's own shape.
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
    /// Most peers it may host.
    pub max_peers: i32,
    /// Peers it hosts now.
    pub active_peers: i32,
    /// Range its peers get their addresses from.
    pub cidr: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// (active peers / most peers) / weight: the lowest is chosen.
    pub score: f64,
    /// Whether it takes peers.
    pub eligible: bool,
    /// Why it takes none.
    pub reason: Option<String>,
    /// Device whose agent speaks for it.
    pub device_id: Option<Uuid>,
    /// Its name.
    pub device: Option<String>,
    /// How many secrets its calls may be signed with: one, two while they are exchanged, none before the
    /// first.
    pub secrets: i64,
    /// Last report; none: it never reported, and is trusted as registered.
    pub seen_at: Option<DateTime<Utc>>,
    /// What it reported.
    pub health: Option<Health>,
}

/// Body of `POST /api/nodes`: a new node, or what is to be true of the one with this name.
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
    /// Most peers it may host; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_peers: Option<i32>,
    /// Range its peers get their addresses from, no other node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// What it can do, for example `gpu`.
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

/// Body of `PUT /api/nodes/{nodeId}/device`: who speaks for it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeDevice {
    /// The device; null: nobody any more. Left out it is an error, not nobody.
    #[serde(deserialize_with = "Option::deserialize")]
    pub device_id: Option<Uuid>,
}

/// Answer of `POST /api/nodes/{nodeId}/secret`, and what the agent keeps. It is shown here and never again.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewSecret {
    /// The node.
    pub node_id: Uuid,
    /// Names the secret in calls: parameter `keyid`.
    pub key_id: Uuid,
    /// 32 bytes in base64.
    #[cfg_attr(feature = "openapi", schema(format = Byte))]
    pub secret: String,
}

/// Without the secret, which has no business in a log.
impl std::fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSecret")
            .field("node_id", &self.node_id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// A secret as `GET /api/nodes/{nodeId}/secret` shows it: everything but the secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Names it in calls.
    pub key_id: Uuid,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
    /// Last call that was signed with it, give or take half a minute.
    pub used_at: Option<DateTime<Utc>>,
    /// Not good any more since then.
    pub retired_at: Option<DateTime<Utc>>,
}

/// Answer of `DELETE /api/nodes/{nodeId}/secret`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Retired {
    /// The secret that is not good any more.
    pub key_id: Uuid,
}
