//! Projects: `/api/projects`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An isolated overlay network, as its members see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// Identifier.
    pub project_id: Uuid,
    /// Unique name.
    pub name: String,
    /// The whole overlay in CIDR notation, when the project has one.
    pub cidr: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Number of devices.
    pub devices: i64,
    /// Number of files.
    pub files: i64,
    /// Bytes of uploads and of all that was made from them.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub used_bytes: i64,
    /// The most that it may store; absent: any number.
    pub max_bytes: Option<i64>,
}

/// Body of `POST /api/projects`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewProject {
    /// Unique name.
    pub name: String,
    /// The whole overlay in CIDR notation. Without it, pools stand for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Range of its first pool, which is named `default`; without it, the whole overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}
