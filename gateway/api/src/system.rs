//! The machine and its storage: `GET /api/system`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The machine that the gateway runs on, and its storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// Version of the gateway.
    pub version: String,
    /// Battery and charger; null on a machine that has neither.
    pub power: Option<Power>,
    /// The hottest processor in degrees Celsius, where the machine tells it.
    pub temperature_celsius: Option<f32>,
    /// Disks of files and of the database.
    pub disks: Vec<Disk>,
    /// Differences between database and storage; null until the database has answered.
    pub storage: Option<Storage>,
}

/// Battery and charger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Power {
    /// How full the batteries are together.
    pub battery_percent: Option<u8>,
    /// Whether a charger supplies power, where the machine tells it.
    pub charger: Option<bool>,
    /// Whether the machine lives on its battery.
    pub on_battery: bool,
}

/// A disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// `storage`, `staging` or `database`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Free bytes.
    pub free: u64,
    /// Free bytes that uploads and renditions leave.
    pub reserve: u64,
}

/// Differences between database and storage, as the last scrub found them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Objects of files that are gone.
    pub missing: i64,
    /// Objects whose bytes are not those that were stored.
    pub changed: i64,
    /// Objects that belong to no file.
    pub untracked: i64,
    /// Their bytes.
    pub untracked_bytes: i64,
    /// When the last scrub ended; null: there was none lately.
    pub scrubbed_at: Option<DateTime<Utc>>,
}
