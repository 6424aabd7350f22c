//! Agents: who calls, what is due, what they get.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use futures::future::join;
use nebula_api::agent::{SyncthingOptions, SyncthingPeer};
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::device::{self, CONFIGURATIONS, Found};
use super::unit::only;
use super::{Client, Unit, one};
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
    /// Version of its project's configuration when it called.
    pub version: i64,
    /// The raw key that the signature was verified with.
    pub host_key: Vec<u8>,
    /// The raw key in the certificates it runs.
    pub public_key: Vec<u8>,
    /// What the device's clock said.
    pub said_at: DateTime<Utc>,
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

/// Whoever may be calling.
pub struct Claim {
    /// The project of the device.
    pub project_id: Uuid,
    /// Version of the project's configuration.
    pub version: i64,
    /// The raw key that signs its calls.
    pub host_key: Vec<u8>,
    /// The raw key in its certificates.
    pub public_key: Vec<u8>,
    /// The node that the device speaks for.
    pub node_id: Option<Uuid>,
}

/// Who a device with this counter is; none for one that is unknown, revoked, or has gone on.
///
/// # Errors
/// Those of the database.
pub async fn claim(
    client: &impl GenericClient,
    device_id: Uuid,
    counter: i64,
) -> Result<Option<Claim>, ApiError> {
    let sql = "SELECT project_id, version, host_key, public_key, node_id FROM nebula.agent_key($1, $2)";
    let row = one(client, sql, &[&device_id, &counter]).await?;
    let Some(project_id) = row.try_get(0)? else { return Ok(None) };
    let (version, host_key, public_key) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    Ok(Some(Claim { project_id, version, host_key, public_key, node_id: row.try_get(4)? }))
}

/// A call that only asks.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale.
pub async fn call(client: &impl GenericClient, caller: &Caller) -> Result<Standing, ApiError> {
    let sql = "SELECT due, version FROM nebula.call_agent($1, $2, $3, $4)";
    let values: [&(dyn ToSql + Sync); 4] =
        [&caller.device_id, &caller.counter, &caller.host_key, &caller.said_at];
    let row = one(client, sql, &values).await?;
    let due = match row.try_get(0)? {
        Some("certificate") => Some(Due::Certificate),
        Some("configuration") => Some(Due::Configuration),
        _ => None,
    };
    Ok(Standing { due, version: row.try_get(1)? })
}

const UPDATE: &str = "SELECT nebula.update_agent($1, $2, $3, $4, $5, $6)";

/// A call that fetches a configuration: answers the counter to send, and what is to be sent. Not in a transaction: an
/// answer that is noted and then not sent is one that was lost, which costs nothing.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale or repeated.
pub async fn fetch(
    client: &Client,
    caller: &Caller,
    new_host_key: &[u8],
    known: i64,
) -> Result<(i64, Found), ApiError> {
    let Caller { device_id, counter, host_key, said_at, public_key, .. } = caller;
    let (update, configuration) =
        (client.prepare_cached(UPDATE).await?, client.prepare_cached(CONFIGURATIONS).await?);
    let values: [&(dyn ToSql + Sync); 6] =
        [device_id, counter, host_key, said_at, &new_host_key, &None::<&[u8]>];
    let (devices, keys) = ([device_id], [public_key]);
    let asked: [&(dyn ToSql + Sync); 3] = [&devices.as_slice(), &Some(keys.as_slice()), &known];
    // The second is sent behind the first and sees what that did.
    let (updated, configured) =
        join(client.query_one(&update, &values), client.query_one(&configuration, &asked)).await;
    Ok((updated?.try_get(0)?, device::found(&configured?, *device_id)?))
}

/// A call that fetches a certificate too: the same, in a unit that begins with it and ends when that is recorded.
///
/// # Errors
/// 401 the device is not known any more, or the call is stale or repeated; 429 too many certificates.
pub async fn update(
    unit: &mut Unit,
    caller: &Caller,
    new_host_key: &[u8],
    new_public_key: &[u8],
    known: i64,
) -> Result<(i64, Found), ApiError> {
    let Caller { device_id, counter, host_key, said_at, .. } = caller;
    let (update, configuration) =
        (unit.prepare_cached(UPDATE).await?, unit.prepare_cached(CONFIGURATIONS).await?);
    let values: [&(dyn ToSql + Sync); 6] =
        [device_id, counter, host_key, said_at, &new_host_key, &new_public_key];
    let devices = [device_id];
    let asked: [&(dyn ToSql + Sync); 3] = [&devices.as_slice(), &None::<&[&[u8]]>, &known];
    let (updated, configured) = unit.both((update, &values), (configuration, &asked)).await?;
    Ok((only(&updated)?.try_get(0)?, device::found(only(&configured)?, *device_id)?))
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
