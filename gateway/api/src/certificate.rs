//! Certificates: `GET /api/certificates`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An issued host certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// SHA-256 as nebula computes it, hex; as in blocklists.
    pub fingerprint: String,
    /// Project of the device.
    pub project_id: Uuid,
    /// The device.
    pub device_id: Uuid,
    /// Its name.
    pub device_name: String,
    /// 1 or 2.
    pub version: i16,
    /// `25519` or `P256`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::Curve))]
    pub curve: String,
    /// Overlay addresses with the prefix length of the network.
    pub networks: Vec<String>,
    /// Groups that firewall rules refer to.
    pub groups: Vec<String>,
    /// Valid from.
    pub not_before: DateTime<Utc>,
    /// Valid until.
    pub not_after: DateTime<Utc>,
    /// When it was signed.
    pub issued_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}
