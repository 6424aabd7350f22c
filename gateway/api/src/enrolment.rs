//! Enrolment codes: what lets a device join without an account. `POST`, `GET /api/enrolments`,
//! `DELETE /api/enrolments/{id}`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/enrolments`: what the devices that use the code will be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentRequest {
    /// Project to join.
    pub project_id: Uuid,
    /// Name of the device; only for a code that is good for one. Without it the device chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `host` (default), `lighthouse` or `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Groups in the certificate, for firewall rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `host:port` where others reach the device on the underlay. A lighthouse that has none here names its
    /// own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// This overlay address and no other; only for a code that is good for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// For how many devices it is good; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<i32>,
    /// For how long; a day when absent, 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i32>,
    /// A device of the project that has no agent: whoever uses the code becomes it, with its name, address,
    /// role and groups, none of which can be given beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Uuid>,
}

/// Answer of `POST /api/enrolments`. The code is shown here and never again: only its hash is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewEnrolment {
    /// Identifier, to list and revoke it.
    pub enrolment_id: Uuid,
    /// The code, in groups of five characters; dashes and letter case do not matter.
    pub code: String,
    /// `nebula://enrol?server=…&code=…`, what the QR code says.
    pub url: String,
    /// PNG of the QR code, in base64.
    pub qr_png: String,
    /// Not good any more after this.
    pub expires_at: DateTime<Utc>,
}

/// A code as `GET /api/enrolments` shows it: everything but the code.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// Identifier.
    pub enrolment_id: Uuid,
    /// Project to join.
    pub project_id: Uuid,
    /// Name of the device, if it is fixed.
    pub name: Option<String>,
    /// The device that gets an agent by it; none: it makes a device.
    #[serde(default)]
    pub device_id: Option<Uuid>,
    /// `host`, `lighthouse` or `relay`.
    pub role: String,
    /// Groups in the certificate.
    pub groups: Vec<String>,
    /// Fixed overlay address, if any.
    pub address: Option<String>,
    /// How many devices have used it.
    pub uses: i32,
    /// For how many it is good.
    pub uses_max: i32,
    /// `open`, `used`, `expired` or `revoked`.
    pub state: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Not good any more after this.
    pub expires_at: DateTime<Utc>,
}
