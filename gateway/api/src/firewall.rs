//! What devices may say to each other, and the networks behind them: `/api/firewall`, `/api/routes`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A firewall rule. nebula drops what no rule lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Its number; absent when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<i64>,
    /// Its project.
    pub project_id: Uuid,
    /// `inbound` or `outbound`, as seen by the devices it is for.
    pub direction: String,
    /// For devices of this group; with `device_id` absent too: for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_group: Option<String>,
    /// For this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_device: Option<Uuid>,
    /// `any`, `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// First port; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_first: Option<i32>,
    /// Last port; absent: only the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_last: Option<i32>,
    /// The other side is in all of these groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_groups: Vec<String>,
    /// The other side is in this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_cidr: Option<String>,
    /// The other side is this device. None of the three: it is anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_device: Option<Uuid>,
    /// What is reached is in this network behind the device; needs nebula 1.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_cidr: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub note: String,
}

/// A network that others reach through a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Its project.
    pub project_id: Uuid,
    /// The network in CIDR notation, outside the overlay.
    pub network: String,
    /// The device it is behind.
    pub device_id: Uuid,
    /// MTU of the route; absent: that of the overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i32>,
    /// Metric of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<i32>,
}
