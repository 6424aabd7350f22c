//! Reports of agents, and instructions beyond the configuration of nebula: message type `Status` of
//! [`dnapi`](crate::dnapi).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::dnapi::bytes;

/// Value of a `Status` message: the state of the device. The counter of the call acknowledges its
/// configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Random, 8 to 64 bytes; the answer repeats it.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// Version of the agent.
    pub agent_version: String,
    /// Version of nebula as it calls itself; absent while none runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nebula_version: Option<String>,
    /// Since nebula was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// The configuration that nebula refused. It is not offered again until the project's configuration
    /// changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// Overlay devices with a tunnel to this one, as far as nebula tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerReport>,
    /// Syncthing; absent if the device has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncthing: Option<SyncthingReport>,
    /// Health of the machine, by which nodes get work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Load, memory and disk of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = MachineHealth))]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Load average of the last minute.
    pub load: f64,
    /// Number of processors.
    pub processors: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of it that are available to new programs.
    pub memory_available_bytes: u64,
    /// Size of the file system that the agent's folder is on, in bytes.
    pub disk_bytes: u64,
    /// Bytes of it that are free.
    pub disk_free_bytes: u64,
}

/// A configuration that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Counter of the configuration.
    pub counter: u64,
    /// The message of nebula; the first 1000 characters are kept.
    pub reason: String,
}

/// Traffic with one overlay device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PeerReport {
    /// Overlay address of the device.
    pub address: String,
    /// Address on the underlay, or the relay in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Bytes received from it since the agent started; absent where the system does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// Bytes sent to it, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Seconds since the last handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_seconds_ago: Option<u64>,
}

/// State of the Syncthing on a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SyncthingReport {
    /// Device identifier, as Syncthing writes it; the other devices get it.
    pub id: String,
    /// Version of Syncthing.
    pub version: String,
    /// Shared folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FolderReport>,
}

/// State of one shared folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FolderReport {
    /// Identifier of the folder.
    pub id: String,
    /// Share of the bytes that have arrived, 0 to 100 per cent.
    pub completion: f64,
    /// Bytes that are missing.
    pub missing_bytes: u64,
    /// Bytes of the complete folder.
    pub total_bytes: u64,
    /// Bytes per second that arrive now.
    pub rate: f64,
    /// State by Syncthing: idle, scanning, syncing, error, …
    pub state: String,
}

/// Value of a `FindDevice` message: another device of the project is wanted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FindDevice {
    /// Random, 8 to 64 bytes; the answer repeats it.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// Its name; letter case matters only between names that differ in nothing else.
    pub name: String,
}

/// Answer of `FindDevice`, inside a [`SignedAnswer`](crate::dnapi::SignedAnswer).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FoundDevice {
    /// The nonce of the question.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// The device; null if the project has none of this name.
    pub device: Option<DeviceAddresses>,
}

/// Where a device is in the overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceAddresses {
    /// Its name.
    pub name: String,
    /// `host`, `lighthouse` or `relay`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::DeviceRole))]
    pub role: String,
    /// Overlay addresses, IPv4 first.
    pub addresses: Vec<String>,
    /// When its agent called last.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// Answer of `Status`, inside a [`SignedAnswer`](crate::dnapi::SignedAnswer).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Instruction {
    /// The nonce of the report.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// Identifier of the project's shared folder.
    pub folder_id: String,
    /// Label of the folder.
    pub folder_label: String,
    /// The other devices that share it: those of the project whose agent reported a Syncthing, unless
    /// revoked.
    pub syncthing: Vec<SyncthingPeer>,
    /// Options of Syncthing.
    #[serde(default)]
    pub options: SyncthingOptions,
}

/// The project's options for every Syncthing. An absent option is left to each device; if it was set before,
/// it goes back to Syncthing's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SyncthingOptions {
    /// `pullerMaxPendingKiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_kib: Option<i32>,
    /// `hashers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashers: Option<i32>,
    /// `maxConcurrentWrites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<i32>,
    /// `blockPullOrder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// `numConnections` for each device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i32>,
}

/// A device that shares the project's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SyncthingPeer {
    /// Name of the device.
    pub name: String,
    /// Syncthing's identifier of the device.
    pub id: String,
    /// Overlay address; Syncthing listens on its port 22000.
    pub address: String,
}
