//! Certificate authorities and their rotation: `/api/authorities`, `/api/rotations`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A certificate authority; the gateway or a token holds its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// SHA-256 as nebula computes it, hex.
    pub fingerprint: String,
    /// Name in its certificate.
    pub name: String,
    /// `25519` or `P256`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::Curve))]
    pub curve: String,
    /// Encoding of its own certificate, 1 or 2.
    pub version: i16,
    /// Valid from.
    pub not_before: DateTime<Utc>,
    /// Valid until.
    pub not_after: DateTime<Utc>,
    /// Whole days until the end; negative after it.
    pub days_left: i32,
    /// Names of the projects it signs for.
    pub projects: Vec<String>,
    /// Set from 60 days before the end, if the authority signs for a project.
    pub warning: Option<String>,
}

/// Body of `POST /api/rotations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RotationRequest {
    /// Project whose authority is replaced.
    pub project_id: Uuid,
    /// Fingerprint (hex) of the authority that takes over; the gateway must hold its key.
    pub fingerprint: String,
}

/// State of a rotation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RotationState {
    /// `distributing`, `reissuing`, `retiring`, `done` or `cancelled`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::RotationStep))]
    pub state: String,
}

/// A change of the authority of a project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The project.
    pub project_id: Uuid,
    /// Name of the project.
    pub project: String,
    /// Name of the authority that signed before.
    pub retiring: String,
    /// Name of the authority that takes over.
    pub incoming: String,
    /// Fingerprint of the authority that takes over, hex.
    pub incoming_fingerprint: String,
    /// `distributing`: both are trusted, the old one signs. `reissuing`: both are trusted, the new one signs.
    /// `retiring`: only the new one is trusted, and devices are told. `done`, `cancelled`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::RotationStep))]
    pub state: String,
    /// Name of the account that began it.
    pub started_by: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Beginning of this state.
    pub changed_at: DateTime<Utc>,
    /// How many live members the state waits for.
    pub waits_for: i64,
    /// Names of these members, at most 100.
    pub missing: Vec<String>,
}
