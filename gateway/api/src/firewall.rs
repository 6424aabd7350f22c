//! Firewall rules, and routes to networks behind devices: `/api/firewall`, `/api/routes`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A firewall rule. nebula drops packets that match no rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Number of the rule; absent in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<i64>,
    /// The project.
    pub project_id: Uuid,
    /// `inbound` or `outbound`, as seen by the devices it is for.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::Direction))]
    pub direction: String,
    /// Applies to devices of this group; without group and device, to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_group: Option<String>,
    /// Applies to this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_device: Option<Uuid>,
    /// `any`, `tcp`, `udp` or `icmp`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::Protocol))]
    pub protocol: String,
    /// First port; absent: any port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_first: Option<i32>,
    /// Last port; absent: only the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_last: Option<i32>,
    /// The peer is in all of these groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_groups: Vec<String>,
    /// The peer is in this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_cidr: Option<String>,
    /// The peer is this device. Without groups, network and device: any peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_device: Option<Uuid>,
    /// The destination is in this network behind the device; needs nebula 1.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_cidr: Option<String>,
    /// Purpose, for people.
    #[serde(default)]
    pub note: String,
}

/// A network that others reach through a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The project.
    pub project_id: Uuid,
    /// The network in CIDR notation, outside the overlay.
    pub network: String,
    /// The device in front of the network.
    pub device_id: Uuid,
    /// MTU of the route; absent: that of the overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i32>,
    /// Metric of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<i32>,
}
