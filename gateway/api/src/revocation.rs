//! Revocation: `POST /api/devices/{deviceId}/revoke`, `POST /api/certificates/{fingerprint}/revoke`, and its
//! progress: `GET /api/devices/{deviceId}/revocation`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Progress of the revocation of a device's certificates.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The device.
    pub device_id: Uuid,
    /// Its name.
    pub name: String,
    /// Fingerprints (hex) of its revoked certificates that have not expired.
    pub fingerprints: Vec<String>,
    /// When the last of them was revoked; null: none is revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The project's configuration that carries the last of them.
    pub version: Option<i64>,
    /// Live members of the project: not revoked, with a valid certificate.
    pub members: i64,
    /// Members that run that configuration or a later one.
    pub acknowledged: i64,
    /// Names of those that do not yet, at most 100.
    pub missing: Vec<String>,
    /// When all members ran it. From then on the certificates are useless everywhere, and the address is free
    /// again.
    pub revoked_everywhere_at: Option<DateTime<Utc>>,
}
