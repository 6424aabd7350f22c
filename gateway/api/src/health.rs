//! Health: `GET /health/live`, `GET /health/ready`.

use serde::{Deserialize, Serialize};

/// Answer of both health routes. Ready is 503 when the status is `failed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`; `degraded`, which serves all but uploads; or `failed`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::HealthStatus))]
    pub status: String,
    /// Version of the gateway; `nebulactl ping` prints it.
    pub version: String,
    /// The parts that were checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// One part of the system.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `database`, `storage`, `authority`, and disks: `storage-disk`, `database-disk`.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// `ok`, or the problem.
    pub detail: String,
    /// The remedy, for a part that fails or will fail soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
