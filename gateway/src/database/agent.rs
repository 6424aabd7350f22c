//! Agents: who calls, what is due, what they get.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use nebula_api::agent::{SyncthingOptions, SyncthingPeer};
use nebula_certificate::PublicKey;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::device::{self, CONFIGURATIONS, Found};
use super::{Unit, column, each, one, rows};
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
#[derive(Debug)]
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

/// Who devices with these counters are; none for one that is unknown, revoked, or has gone on.
///
/// # Errors
/// Those of the database.
pub async fn claims(
    client: &impl GenericClient,
    calls: &[(Uuid, i64)],
) -> Result<Vec<Option<Claim>>, ApiError> {
    let sql = "SELECT project_id, version, host_key, public_key, node_id FROM nebula.agent_keys($1, $2)";
    let (devices, counters): (Vec<_>, Vec<_>) = calls.iter().copied().unzip();
    each(&rows(client, sql, &[&devices, &counters]).await?, |row| {
        let Some(project_id) = row.try_get(0)? else { return Ok(None) };
        let (version, host_key, public_key) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok(Some(Claim { project_id, version, host_key, public_key, node_id: row.try_get(4)? }))
    })
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

/// A call that fetches a configuration.
#[derive(Debug)]
pub struct Fetch {
    /// Who calls.
    pub caller: Caller,
    /// The raw key that will sign its calls.
    pub host_key: Vec<u8>,
    /// The key for a new certificate, if it wants one.
    pub public_key: Option<PublicKey>,
}

/// Calls of different devices of a project that fetch configurations, all or none, in a unit that begins with them:
/// answers the counter to send to each, and what is to be sent. The unit ends when certificates are recorded, or as it is.
///
/// # Errors
/// 401 a device is not known any more, or a call is stale or repeated; 429 too many certificates.
pub async fn update(unit: &mut Unit, calls: &[Fetch], known: i64) -> Result<Vec<(i64, Found)>, ApiError> {
    let sql = "SELECT nebula.update_agents($1, $2, $3, $4, $5, $6)";
    let (update, configurations) =
        (unit.prepare_cached(sql).await?, unit.prepare_cached(CONFIGURATIONS).await?);
    let devices = column(calls, |call| call.caller.device_id);
    let values: [&(dyn ToSql + Sync); 6] = [
        &devices,
        &column(calls, |call| call.caller.counter),
        &column(calls, |call| call.caller.host_key.as_slice()),
        &column(calls, |call| call.caller.said_at),
        &column(calls, |call| call.host_key.as_slice()),
        &column(calls, |call| call.public_key.as_ref().map(PublicKey::bytes)),
    ];
    // Who wants no new certificates is sent those of the key it has.
    let kept = column(calls, |call| call.public_key.is_none().then_some(call.caller.public_key.as_slice()));
    let asked: [&(dyn ToSql + Sync); 3] = [&devices, &kept, &known];
    let (counters, configured) = unit.both((update, &values), (configurations, &asked)).await?;
    let answers = counters.iter().zip(&configured).zip(devices);
    answers.map(|((counter, row), device)| Ok((counter.try_get(0)?, device::found(row, device)?))).collect()
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
