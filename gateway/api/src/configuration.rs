//! What all devices of a project run alike: `GET`, `PATCH /api/projects/{projectId}/configuration`; and the
//! groups of a device: `PUT /api/devices/{deviceId}/groups`.

use serde::{Deserialize, Serialize};

/// Options of a project. In a `PATCH` what is absent stays; `0`, or an empty text, takes back to none what
/// can be none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Version of the configuration they are part of; counts up with each change. Ignored in a `PATCH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// How long device certificates are valid; none: what the gateway is set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i64>,
    /// Encodings a device gets: `[1]`, `[2]` or `[1,2]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_versions: Option<Vec<i16>>,
    /// MTU of the overlay interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i32>,
    /// `aes` or `chachapoly`, the same everywhere: a change cuts devices off until all run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// Whether devices keep holes in their routers open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub punchy: Option<bool>,
    /// UDP port on which lighthouses answer DNS for device names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_port: Option<i32>,
    /// `open`: devices take everything from members; `closed`: ping, and what firewall rules let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<String>,
    /// `open`: devices send anything to members; `closed`: only what firewall rules let out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<String>,
    /// KiB that a Syncthing asks for before the first of them has come, 16384 to 4194304; none: what each
    /// has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_pending_kib: Option<i32>,
    /// Files it hashes at a time, 1 to 256; none: what each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_hashers: Option<i32>,
    /// Writes at a time while it fetches, 1 to 64; none: what each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_writes: Option<i32>,
    /// Blocks it asks for first: `standard`, `random` or `inOrder`; none: what each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_order: Option<String>,
    /// Connections between two devices, 1 to 128, from Syncthing 1.25 on; none: what each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_connections: Option<i32>,
}

/// Body of `PUT /api/devices/{deviceId}/groups`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Groups {
    /// All groups of the device; its agent gets a certificate that names them.
    pub groups: Vec<String>,
}
