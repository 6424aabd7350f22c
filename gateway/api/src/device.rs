//! Devices: registration, status, release, listing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/nebula/register`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RegisterRequest {
    /// Project to join.
    pub project_id: Uuid,
    /// Identifier the device chose for itself and keeps.
    pub device_id: Uuid,
    /// Name in the certificate: letters, digits, dots, underscores, dashes; unique in the project.
    pub device_name: String,
    /// Public key made on the device: nebula's PEM, or the raw bytes in base64 or hex.
    pub public_key: String,
    /// `host` (default), `lighthouse` or `relay`; the latter two need an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::DeviceRole>))]
    pub role: Option<String>,
    /// `host:port` where others reach it on the underlay; a lighthouse names at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// An enrolment code, in place of an access token. Name, role, endpoints and address that the code fixes
    /// override those of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment_code: Option<String>,
}

/// Answer of `POST /api/nebula/register`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Overlay address of the device.
    pub nebula_ip: String,
    /// Name of the device.
    pub device_name: String,
    /// Project of the device.
    pub project_id: Uuid,
    /// Identifier of the device.
    pub device_id: Uuid,
    /// Zip of `ca.crt`, `node.crt`, `nebula.yml`, `README.md` in base64; never a private key.
    pub zip_bundle: String,
    /// Size of the zip in bytes, before base64.
    pub zip_size: u64,
}

/// A device as `GET /api/devices` and `GET /api/nebula/status/{deviceId}` show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Identifier.
    pub device_id: Uuid,
    /// Project of the device.
    pub project_id: Uuid,
    /// Name in the certificate.
    pub name: String,
    /// `host`, `lighthouse` or `relay`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::DeviceRole))]
    pub role: String,
    /// Username of the account that registered it.
    pub owner: Option<String>,
    /// Overlay address; absent after its release.
    pub nebula_ip: Option<String>,
    /// Name of the pool of the address.
    pub pool: Option<String>,
    /// `host:port` where others reach it on the underlay.
    pub endpoints: Vec<String>,
    /// `25519` or `P256`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::Curve))]
    pub curve: String,
    /// Time of the first registration.
    pub registered_at: DateTime<Utc>,
    /// Time of the last call or registration.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Time of the revocation, which is for good.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Fingerprint (hex) of the newest certificate.
    pub fingerprint: Option<String>,
    /// End of that certificate.
    pub certificate_not_after: Option<DateTime<Utc>>,
    /// Groups that firewall rules refer to; its certificate names them from its next renewal on.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub groups: Vec<String>,
}

/// Answer of `POST /api/nebula/release/{deviceId}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The device.
    pub device_id: Uuid,
    /// The address it held.
    pub nebula_ip: String,
}
