//! Pools: `/api/pools`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Usage of a pool. Counts are decimal text, because an IPv6 pool outgrows every JSON number:
/// free + reserved + allocated + quarantined = size.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PoolUsage {
    /// Identifier.
    pub pool_id: i32,
    /// Project it belongs to.
    pub project_id: Uuid,
    /// Name, unique in the project.
    pub name: String,
    /// The range in CIDR notation.
    pub cidr: String,
    /// All addresses of the range.
    pub size: String,
    /// Never allocated: network, broadcast, gateway.
    pub reserved: String,
    /// Held by devices.
    pub allocated: String,
    /// Released, while a certificate that names them is still valid.
    pub quarantined: String,
    /// Free now.
    pub free: String,
    /// False: gives out no address, whatever is free.
    pub enabled: bool,
}

/// Body of `POST /api/pools`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewPool {
    /// Project that it is for.
    pub project_id: Uuid,
    /// Name, unique in the project.
    pub name: String,
    /// The range in CIDR notation: inside the project's overlay if that is of the same family.
    pub cidr: String,
    /// Whether the first address is kept back for a gateway.
    #[serde(default)]
    pub reserve_gateway: bool,
}

/// Body of `PATCH /api/pools`; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PoolChanges {
    /// A range around the present one, or one inside it that has all addresses which are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Whether it gives out addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Answer of `GET /api/pools/{id}/map`: how addresses are used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PoolMap {
    /// The pool.
    pub pool_id: i32,
    /// Its project.
    pub project_id: Uuid,
    /// Its name.
    pub name: String,
    /// The whole range.
    pub cidr: String,
    /// Address that is kept for a gateway.
    pub gateway: Option<String>,
    /// The network that is shown.
    pub prefix: String,
    /// Prefix length of a cell: eight bits longer than the network, or one address.
    pub cell_length: u8,
    /// Cells with addresses in use, in order; all others are free.
    pub cells: Vec<MapCell>,
    /// Reservations in the network.
    pub reservations: Vec<MapReservation>,
}

/// A part of a pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MapCell {
    /// The network of the cell, which can be asked for in turn.
    pub cidr: String,
    /// Addresses that devices and peers hold.
    pub held: i64,
    /// Released addresses that a certificate in force still names.
    pub quarantined: i64,
    /// Of one address: who holds it, or held it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Uuid>,
    /// Name of that device or peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Addresses that not every device gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MapReservation {
    /// Name, unique in the project.
    pub label: String,
    /// First address.
    pub first: String,
    /// Last address.
    pub last: String,
    /// Whether devices of a group get them; otherwise nobody does.
    pub for_group: bool,
    /// Reason, as given by the user.
    pub reason: Option<String>,
}
