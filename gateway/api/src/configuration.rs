//! What all devices of a project run alike: `GET`, `PATCH /api/projects/{projectId}/configuration`; and the groups of a
//! device: `PUT /api/devices/{deviceId}/groups`.

use serde::{Deserialize, Serialize};

/// Options of a project. In a `PATCH` what is absent stays; `0` takes lifetime and DNS port back to none.
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
}

/// Body of `PUT /api/devices/{deviceId}/groups`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Groups {
    /// All groups of the device; its agent gets a certificate that names them.
    pub groups: Vec<String>,
}
