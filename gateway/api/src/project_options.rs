//! Options of projects: `GET`, `PATCH /api/projects/{projectId}/configuration`; and the groups of devices:
//! `PUT /api/devices/{deviceId}/groups`.

use serde::{Deserialize, Deserializer, Serialize};

/// Options of a project. A `PATCH` leaves absent options as they are; `0` or an empty text unsets an optional
/// one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Options))]
#[serde(rename_all = "camelCase")]
pub struct ProjectOptions {
    /// Version of the project's configuration; every change increases it. Ignored in a `PATCH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// How long device certificates are valid; unset: as the gateway is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i64>,
    /// Encodings of device certificates: `[1]`, `[2]` or `[1,2]`; one may be written without brackets.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_or_several")]
    pub certificate_versions: Option<Vec<i16>>,
    /// MTU of the overlay interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i32>,
    /// `aes` or `chachapoly`. Devices with different ciphers cannot talk, so a change cuts them off until all
    /// run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::Cipher>))]
    pub cipher: Option<String>,
    /// Whether devices keep mappings in their routers open (hole punching).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub punchy: Option<bool>,
    /// UDP port on which lighthouses answer DNS for device names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_port: Option<i32>,
    /// Domain of the names of devices, such as `home.arpa`. The resolver of each device asks the lighthouses for
    /// names below it, and for no others; unset: no resolver is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_domain: Option<String>,
    /// `open`: devices take everything from members; `closed`: ping, and what firewall rules let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::Stance>))]
    pub inbound: Option<String>,
    /// `open`: devices send anything to members; `closed`: only what firewall rules let out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::Stance>))]
    pub outbound: Option<String>,
    /// KiB that Syncthing requests ahead, 16384 to 4194304; unset: each device's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_pending_kib: Option<i32>,
    /// Files that Syncthing hashes at a time, 1 to 256; unset: each device's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_hashers: Option<i32>,
    /// Concurrent writes while Syncthing fetches, 1 to 64; unset: each device's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_writes: Option<i32>,
    /// Order of requested blocks: `standard`, `random` or `inOrder`; unset: each device's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::SyncOrder>))]
    pub sync_order: Option<String>,
    /// Connections between two devices, 1 to 128, since Syncthing 1.25; unset: each device's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_connections: Option<i32>,
    /// How far members may let their WireGuard peers reach: `overlay`, or `internet`: everything but the
    /// private networks behind their node. Peers of administrators with reach `all` reach those, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::MemberReach>))]
    pub member_reach: Option<String>,
}

fn one_or_several<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<i16>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "certificateVersions is [1], [2] or [1,2]")]
    enum Versions {
        One(i16),
        Several(Vec<i16>),
        Unset(()),
    }
    Ok(match Versions::deserialize(value)? {
        Versions::One(version) => Some(vec![version]),
        Versions::Several(versions) => Some(versions),
        Versions::Unset(()) => None,
    })
}

/// Body of `PUT /api/devices/{deviceId}/groups`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Groups {
    /// All groups of the device; its agent gets a certificate that names them.
    pub groups: Vec<String>,
}
