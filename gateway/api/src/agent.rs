//! What an agent reports and is told beyond the configuration of nebula: message type `Status` of
//! [`dnapi`](crate::dnapi).

use serde::{Deserialize, Serialize};

use crate::dnapi::bytes;

/// Value of a `Status` message: how the device is. The counter of the call acknowledges what it runs.
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
    /// For how long nebula runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// The configuration that was fetched but that nebula would not take. It is not offered again until the
    /// project's configuration changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// Overlay devices it has a tunnel to, as far as nebula tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerReport>,
    /// Its Syncthing; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncthing: Option<SyncthingReport>,
    /// How the machine is; what a node takes its work by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Load and room of a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = MachineHealth))]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Processes that ran or wanted to, over the last minute.
    pub load: f64,
    /// Processors they share.
    pub processors: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of it that a new program could have.
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
    /// Its counter.
    pub counter: u64,
    /// Why, in the words of nebula; the first 1000 characters are kept.
    pub reason: String,
}

/// Traffic with one overlay device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PeerReport {
    /// Its overlay address.
    pub address: String,
    /// Where it is on the underlay, or through which relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Bytes received from it since the agent began to count; absent where the system cannot.
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
    /// Its device identifier, as Syncthing writes it; others are told it.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its shared folders.
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
    /// Per cent of its bytes that are here, 0 to 100.
    pub completion: f64,
    /// Bytes that are missing.
    pub missing_bytes: u64,
    /// Bytes in the folder as everyone has them.
    pub total_bytes: u64,
    /// Bytes a second that arrive now.
    pub rate: f64,
    /// The word Syncthing has for its state: idle, scanning, syncing, error, …
    pub state: String,
}

/// Answer of `Status`, inside a [`SignedAnswer`](crate::dnapi::SignedAnswer).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Instruction {
    /// That of the report.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
    /// Identifier of the project's shared folder.
    pub folder_id: String,
    /// Its label.
    pub folder_label: String,
    /// The other devices of the project that share it: those whose agent reported a Syncthing and that are
    /// not revoked.
    pub syncthing: Vec<SyncthingPeer>,
    /// How Syncthing is to go about it.
    #[serde(default)]
    pub options: SyncthingOptions,
}

/// What the project wants of every Syncthing; what is absent is for each to choose, and goes back to
/// Syncthing's default where it was said before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SyncthingOptions {
    /// Its `pullerMaxPendingKiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_kib: Option<i32>,
    /// Its `hashers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashers: Option<i32>,
    /// Its `maxConcurrentWrites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<i32>,
    /// Its `blockPullOrder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Its `numConnections` for each device.
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
    /// Syncthing's identifier of it.
    pub id: String,
    /// Its overlay address; Syncthing listens on port 22000 there.
    pub address: String,
}
