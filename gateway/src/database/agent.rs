//! Agents: who calls, what is due, what they get.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use nebula_api::agent::{SyncthingOptions, SyncthingPeer};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{one, optional};
use crate::ApiError;

/// A call whose signature was verified.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The device.
    pub device_id: Uuid,
    /// Its project.
    pub project_id: Uuid,
    /// Counter of the configuration it runs.
    pub counter: i64,
    /// The raw key that the signature was verified with.
    pub host_key: Vec<u8>,
    /// What the device's clock said.
    pub said_at: DateTime<Utc>,
}

/// Who would sign a call.
pub struct Known {
    /// Project of the device.
    pub project_id: Uuid,
    /// Raw public key.
    pub host_key: Vec<u8>,
    /// The node that the device speaks for.
    pub node_id: Option<Uuid>,
}

/// What an agent should fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Another certificate.
    Certificate,
    /// The project's configuration, which has changed.
    Configuration,
}

/// How an agent stands.
#[derive(Debug)]
pub struct Standing {
    /// What it should fetch now.
    pub due: Option<Due>,
    /// It has nothing to fetch while the project's configuration is not newer than this.
    pub version: i64,
}

/// The project's shared folder.
pub struct Folder {
    /// Its identifier.
    pub id: String,
    /// Its label.
    pub label: String,
    /// Who shares it.
    pub peers: Vec<SyncthingPeer>,
    /// How.
    pub options: SyncthingOptions,
}

/// The key that signs calls of a device with this counter, its project and its node; none for one that is unknown,
/// revoked, or has gone on.
///
/// # Errors
/// Those of the database.
pub async fn key(
    client: &impl GenericClient,
    device_id: Uuid,
    counter: i64,
) -> Result<Option<Known>, ApiError> {
    let sql = "SELECT project_id, host_key, node_id FROM nebula.agent_key($1, $2)";
    let Some(row) = optional(client, sql, &[&device_id, &counter]).await? else { return Ok(None) };
    Ok(Some(Known { project_id: row.try_get(0)?, host_key: row.try_get(1)?, node_id: row.try_get(2)? }))
}

/// A call that only asks.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale.
pub async fn call(client: &impl GenericClient, caller: &Caller) -> Result<Standing, ApiError> {
    let sql = "SELECT due, version FROM nebula.call_agent($1, $2, $3, $4)";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&caller.device_id, &caller.counter, &caller.host_key, &caller.said_at];
    let row = one(client, sql, &values).await?;
    let due = match row.try_get(0)? {
        Some("certificate") => Some(Due::Certificate),
        Some("configuration") => Some(Due::Configuration),
        _ => None,
    };
    Ok(Standing { due, version: row.try_get(1)? })
}

/// A call that fetches: answers the counter to send, and the nebula key that the certificates are of. Call it in the
/// transaction that records them.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale or repeated; 429 too many certificates.
pub async fn update(
    client: &impl GenericClient,
    caller: &Caller,
    new_host_key: &[u8],
    new_public_key: Option<&[u8]>,
) -> Result<(i64, Vec<u8>), ApiError> {
    let sql = "SELECT answer, nebula_key FROM nebula.update_agent($1, $2, $3, $4, $5, $6)";
    let Caller { device_id, counter, host_key, said_at, .. } = caller;
    let row =
        one(client, sql, &[device_id, counter, host_key, said_at, &new_host_key, &new_public_key]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Keeps a report; answers the shared folder.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale or repeated.
pub async fn report(
    client: &impl GenericClient,
    caller: &Caller,
    report: &serde_json::Value,
    address: Option<IpAddr>,
) -> Result<Folder, ApiError> {
    let sql = "SELECT folder_id, folder_label, peers, options \
               FROM nebula.report_agent($1, $2, $3, $4, $5, $6::text::inet)";
    let Caller { device_id, counter, host_key, said_at, .. } = caller;
    let address = address.map(|address| address.to_string());
    let row = one(client, sql, &[device_id, counter, host_key, said_at, report, &address]).await?;
    let (Json(peers), Json(options)) = (row.try_get(2)?, row.try_get(3)?);
    Ok(Folder { id: row.try_get(0)?, label: row.try_get(1)?, peers, options })
}

/// The device leaves for good.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale or repeated.
pub async fn leave(
    client: &impl GenericClient,
    caller: &Caller,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.leave_project($1, $2, $3, $4, $5::text::inet)";
    let Caller { device_id, counter, host_key, said_at, .. } = caller;
    let address = address.map(|address| address.to_string());
    one(client, sql, &[device_id, counter, host_key, said_at, &address]).await.map(drop)
}

/// Records that a call or an enrolment was refused, and how many like it were not recorded since the last.
///
/// # Errors
/// Those of the database.
pub async fn refuse(
    client: &impl GenericClient,
    device_id: Option<Uuid>,
    reason: &str,
    address: Option<IpAddr>,
    earlier: u64,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.refuse_call($1, $2, $3::text::inet, $4)";
    let address = address.map(|address| address.to_string());
    let earlier = i64::try_from(earlier).unwrap_or(i64::MAX);
    one(client, sql, &[&device_id, &reason, &address, &earlier]).await.map(drop)
}
