//! The picture of a network: `GET /api/network`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Devices of a project, and the tunnels between them as agents reported them in the last three minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkPicture {
    /// The project.
    pub project_id: Uuid,
    /// When it was made; at most five seconds ago.
    pub as_of: DateTime<Utc>,
    /// Lighthouses, relays and nodes.
    pub anchors: Vec<Anchor>,
    /// All other devices, by the first of their groups.
    pub groups: Vec<NetworkGroup>,
    /// Tunnels between those, the busiest first: at most 400; none with a device in focus.
    pub bundles: Vec<Bundle>,
    /// Partners of the device in focus, the busiest first: at most 60.
    pub partners: Vec<Partner>,
    /// How many tunnels there are; with a device in focus, of that device.
    pub tunnels: i64,
}

/// A device that stands for itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Anchor {
    /// As `from` and `to` of bundles name it.
    pub id: String,
    /// The device.
    pub device_id: Uuid,
    /// Its name.
    pub name: String,
    /// `lighthouse`, `relay` or `node`.
    pub kind: String,
    /// `online`, `late` (no call for two minutes) or `silent` (for ten).
    pub state: String,
    /// Whether it refused its configuration.
    pub attention: bool,
}

/// Devices with the same first group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkGroup {
    /// As `from` and `to` of bundles name it.
    pub id: String,
    /// Name of the group; empty for devices without one.
    pub name: String,
    /// How many devices.
    pub devices: i64,
    /// How many of them have called within two minutes.
    pub online: i64,
    /// How many of them refused their configuration.
    pub attention: i64,
}

/// All tunnels between two of them, or within a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// One end.
    pub from: String,
    /// The other.
    pub to: String,
    /// Bytes a second in both directions.
    pub bytes_per_second: f64,
    /// How many tunnels.
    pub tunnels: i64,
    /// How many of them go through a relay.
    pub relayed: i64,
}

/// A device with a tunnel to the one in focus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Partner {
    /// The device.
    pub device_id: Uuid,
    /// Its name.
    pub name: String,
    /// `device`, `lighthouse`, `relay` or `node`.
    pub kind: String,
    /// `online`, `late` or `silent`.
    pub state: String,
    /// Bytes a second in both directions.
    pub bytes_per_second: f64,
    /// Whether the tunnel goes through a relay.
    pub relayed: bool,
    /// Age of the last handshake, the older one of both ends.
    pub handshake_seconds_ago: Option<f64>,
    /// Only one end has reported it.
    pub one_sided: bool,
}
