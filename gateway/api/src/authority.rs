//! Certificate authorities and their rotation: `/api/authorities`, `/api/rotations`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A certificate authority; its key is with the gateway or in a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// SHA-256 as nebula computes it, hex.
    pub fingerprint: String,
    /// Name in its certificate.
    pub name: String,
    /// `25519` or `P256`.
    pub curve: String,
    /// Encoding of its own certificate, 1 or 2.
    pub version: i16,
    /// Valid from.
    pub not_before: DateTime<Utc>,
    /// Valid until.
    pub not_after: DateTime<Utc>,
    /// Whole days until then; negative when it has expired.
    pub days_left: i32,
    /// Names of the projects it signs for.
    pub projects: Vec<String>,
    /// Said from 60 days before the end, if it signs for a project.
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

/// How far a rotation is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RotationState {
    /// `distributing`, `reissuing`, `retiring`, `done` or `cancelled`.
    pub state: String,
}

/// A change of the authority of a project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The project.
    pub project_id: Uuid,
    /// Its name.
    pub project: String,
    /// Name of the authority that signed before.
    pub retiring: String,
    /// Name of the one that takes over.
    pub incoming: String,
    /// Its fingerprint, hex.
    pub incoming_fingerprint: String,
    /// `distributing`: both are trusted, the old one signs. `reissuing`: both are trusted, the new one signs.
    /// `retiring`: the new one alone is trusted, and devices are being told. `done`, `cancelled`.
    pub state: String,
    /// Who began it.
    pub started_by: String,
    /// When.
    pub started_at: DateTime<Utc>,
    /// Since when it is in this state.
    pub changed_at: DateTime<Utc>,
    /// How many live members the state waits for.
    pub waits_for: i64,
    /// Names of the first hundred of them.
    pub missing: Vec<String>,
}
