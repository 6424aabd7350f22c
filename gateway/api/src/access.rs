//! Connections that devices may make, and those that other rules would change: `/api/access`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::firewall::Rule;

/// Answer to "may this device reach that one?".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether nothing stops the packets.
    pub allowed: bool,
    /// `check` of the first one that stops them.
    pub stopped_by: Option<String>,
    /// Each thing that was looked at, in the order in which packets pass it, up to the one that stops them.
    pub checks: Vec<AccessCheck>,
}

/// One thing that packets have to pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessCheck {
    /// `revoked`, `address`, `certificate`, `lighthouse`, `outbound` (rules of the sender) or `inbound` (rules of the
    /// receiver).
    pub check: String,
    /// Whether the packets pass.
    pub passed: bool,
    /// One sentence.
    pub detail: String,
    /// The rule that lets them pass, where one of the project's rules does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<i64>,
}

/// Body of `POST /api/access/preview`: changes that nobody has made yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// The project.
    pub project_id: Uuid,
    /// Rules that would be added.
    #[serde(default)]
    pub add: Vec<Rule>,
    /// Numbers of rules that would be removed.
    #[serde(default)]
    pub remove: Vec<i64>,
    /// Whether devices would take everything (`open`) or what rules say (`closed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<String>,
    /// Whether devices would send everything (`open`) or what rules say (`closed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<String>,
}

/// Changes that a draft would make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Connections that would be possible and are not now.
    pub gains: Vec<AccessReach>,
    /// Connections that would not be possible any more.
    pub losses: Vec<AccessReach>,
    /// Whether there are more of them than are listed.
    pub truncated: bool,
}

/// Devices that reach others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessReach {
    /// The devices that send.
    pub from: AccessSide,
    /// The devices that take it.
    pub to: AccessSide,
    /// Ports of TCP: `22`, `8000-8010`, or `any`.
    pub tcp: Vec<String>,
    /// Ports of UDP.
    pub udp: Vec<String>,
    /// Whether ICMP is part of it.
    pub icmp: bool,
}

/// Devices that no rule tells apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessSide {
    /// How many.
    pub devices: usize,
    /// Names of the first ten.
    pub names: Vec<String>,
    /// Groups that all of them are in.
    pub groups: Vec<String>,
}
