//! Enrolment codes, by which a device joins without an account. `POST`, `GET /api/enrolments`,
//! `DELETE /api/enrolments/{id}`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/enrolments`: properties of the devices that use the code.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentRequest {
    /// Project to join.
    pub project_id: Uuid,
    /// Name of the device; only for a code for one device. Without it the device chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `host` (default), `lighthouse` or `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::DeviceRole>))]
    pub role: Option<String>,
    /// Groups in the certificate, for firewall rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `host:port` where others reach the device on the underlay. Without them a lighthouse names
    /// its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Overlay address of the device; only for a code for one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Number of devices that may use the code; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<i32>,
    /// Validity of the code; a day when absent, 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i32>,
    /// A device of the project without an agent. The device that uses the code becomes this one, with its
    /// name, address, role and groups, which therefore cannot be given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Uuid>,
}

/// Answer of `POST /api/enrolments`. The code cannot be read again: only its hash is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewEnrolment {
    /// Identifier, to list and revoke it.
    pub enrolment_id: Uuid,
    /// The code, in groups of five characters; dashes and letter case do not matter.
    pub code: String,
    /// `nebula://enrol?server=…&code=…`, the content of the QR code.
    pub url: String,
    /// The one command for a Linux device with systemd: it fetches nebulactl from the gateway, installs nebula,
    /// joins and starts the agent. Null if the gateway has no nebulactl.
    #[serde(default)]
    pub command: Option<String>,
    /// SHA-256 of the gateway's nebulactl, in hexadecimal; the command compares it.
    #[serde(default)]
    pub nebulactl_sha256: Option<String>,
    /// PNG of the QR code, in base64.
    pub qr_png: String,
    /// End of its validity.
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
    /// The device that gets an agent by the code; null: the code makes a device.
    #[serde(default)]
    pub device_id: Option<Uuid>,
    /// `host`, `lighthouse` or `relay`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::DeviceRole))]
    pub role: String,
    /// Groups in the certificate.
    pub groups: Vec<String>,
    /// Fixed overlay address, if any.
    pub address: Option<String>,
    /// Number of devices that have used it.
    pub uses: i32,
    /// Number of devices that may use it.
    pub uses_max: i32,
    /// `open`, `used`, `expired` or `revoked`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::EnrolmentState))]
    pub state: String,
    /// Name of the account that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// End of its validity.
    pub expires_at: DateTime<Utc>,
}
