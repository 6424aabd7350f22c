//! Agents: keys that verify their calls, updates that are due, configurations they fetch.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::agent::{DeviceAddresses, SyncthingOptions, SyncthingPeer};
use nebula_certificate::PublicKey;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::PipelinedTransaction;
use super::device::{self, DEVICE_CONFIGURATIONS, DeviceConfiguration};
use super::node::NodeSecret;
use super::query::{GenericClient, collect_column, map_rows, query, query_one, query_opt};
use super::records::AgentCallRow;
use crate::error::ApiError;

/// A call whose signature was verified.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) device_id: Uuid,
    pub(crate) project_id: Uuid,
    /// Counter of the configuration the device runs.
    pub(crate) counter: i64,
    /// Version of the project's configuration when the device called.
    pub(crate) version: i64,
    /// The raw key that the signature was verified with.
    pub(crate) host_key: Vec<u8>,
    /// The raw key in the certificates the device runs.
    pub(crate) public_key: Vec<u8>,
    /// Timestamp of the call by the device's clock.
    pub(crate) called_at: DateTime<Utc>,
    /// The node that the device represents.
    pub(crate) node: Option<CallingNode>,
}

/// The node that a caller represents.
#[derive(Debug, Clone)]
pub(crate) struct CallingNode {
    pub(crate) node_id: Uuid,
    /// The secret that the call was signed with; `None` if the node has none.
    pub(crate) secret: Option<NodeSecret>,
}

/// An update that an agent should fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Certificate,
    /// The project's configuration, which has changed.
    Configuration,
}

#[derive(Debug)]
pub(crate) struct AgentState {
    pub(crate) due: Option<Due>,
    /// Nothing is due for the agent while the project's configuration is not newer than this.
    pub(crate) version: i64,
}

/// The folder that the devices of a project share.
pub(crate) struct SharedFolder {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) peers: Vec<SyncthingPeer>,
    pub(crate) options: SyncthingOptions,
}

/// The keys that verify the calls of a device.
#[derive(Debug)]
pub(crate) struct AgentKeys {
    pub(crate) project_id: Uuid,
    /// Version of the project's configuration.
    pub(crate) version: i64,
    /// The raw key that signs the device's calls.
    pub(crate) host_key: Vec<u8>,
    /// The raw key in the device's certificates.
    pub(crate) public_key: Vec<u8>,
    /// The node that the device represents.
    pub(crate) node_id: Option<Uuid>,
}

/// The keys of devices with these counters, in the same order; `None` for a device that is unknown, revoked,
/// or has acknowledged a newer counter.
pub(crate) async fn keys(
    client: &impl GenericClient,
    calls: &[(Uuid, i64)],
) -> Result<Vec<Option<AgentKeys>>, ApiError> {
    let sql = "SELECT project_id, version, host_key, public_key, node_id FROM nebula.agent_keys(nebula.actor($1), $2)";
    let calls = collect_column(calls, |&(device_id, counter)| AgentCallRow {
        device_id,
        counter,
        ..Default::default()
    });
    map_rows(&query(client, sql, &[client.gateway(), &calls]).await?, |row| {
        let Some(project_id) = row.try_get(0)? else { return Ok(None) };
        let (version, host_key, public_key) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok(Some(AgentKeys { project_id, version, host_key, public_key, node_id: row.try_get(4)? }))
    })
}

/// Notes a call that changes nothing; answers whether an update is due. Fails with 401 if the device is not
/// known any more, or the call is stale.
pub(crate) async fn call(client: &impl GenericClient, caller: &Caller) -> Result<AgentState, ApiError> {
    let sql = "SELECT due, version FROM nebula.call_agent(nebula.actor($1), $2, $3, $4, $5)";
    let values: [&(dyn ToSql + Sync); 5] =
        [client.gateway(), &caller.device_id, &caller.counter, &caller.host_key, &caller.called_at];
    let row = query_one(client, sql, &values).await?;
    let due = match row.try_get(0)? {
        Some("certificate") => Some(Due::Certificate),
        Some("configuration") => Some(Due::Configuration),
        _ => None,
    };
    Ok(AgentState { due, version: row.try_get(1)? })
}

/// A call that fetches a configuration.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) caller: Caller,
    /// The raw key that will sign the device's next calls.
    pub(crate) host_key: Vec<u8>,
    /// The key for new certificates; without it the device keeps its certificates.
    pub(crate) public_key: Option<PublicKey>,
}

/// Records fetches by different devices of a project, all or none, as the first statements of `transaction`;
/// answers, for each, the counter to send and the configuration. The caller commits, by recording
/// certificates or without. Fails with 401 if a device is not known any more or a call is stale or repeated,
/// 429 for too many certificates.
pub(crate) async fn update(
    transaction: &mut PipelinedTransaction,
    calls: &[Fetch],
    known_version: i64,
) -> Result<Vec<(i64, DeviceConfiguration)>, ApiError> {
    let sql = "SELECT nebula.update_agents(nebula.actor($1), $2)";
    let update = transaction.prepare(sql).await?;
    let configurations = transaction.prepare(DEVICE_CONFIGURATIONS).await?;
    let devices = collect_column(calls, |call| call.caller.device_id);
    let fetches = collect_column(calls, |Fetch { caller, host_key, public_key }| AgentCallRow {
        device_id: caller.device_id,
        counter: caller.counter,
        host_key: Some(&caller.host_key),
        said_at: Some(caller.called_at),
        new_host_key: Some(host_key),
        new_public_key: public_key.as_ref().map(PublicKey::bytes),
    });
    // A device that asks for no new certificates is sent those of the key it has.
    let kept_keys =
        collect_column(calls, |call| call.public_key.is_none().then_some(call.caller.public_key.as_slice()));
    let gateway = transaction.gateway().clone();
    let arguments: [&(dyn ToSql + Sync); 4] = [&gateway, &devices, &kept_keys, &known_version];
    let (counters, rows) =
        transaction.query_two((update, &[&gateway, &fetches]), (configurations, &arguments)).await?;
    let answers = counters.iter().zip(&rows).zip(devices);
    answers
        .map(|((counter, row), device)| Ok((counter.try_get(0)?, device::read_configuration(row, device)?)))
        .collect()
}

/// Keeps a report; answers the shared folder. Fails with 401 if the device is not known any more, or the call
/// is stale or repeated.
pub(crate) async fn report(
    client: &impl GenericClient,
    caller: &Caller,
    report: &serde_json::Value,
    address: Option<IpAddr>,
) -> Result<SharedFolder, ApiError> {
    let sql = "SELECT folder_id, folder_label, peers, options FROM nebula.report_agent(nebula.actor($1), $2, $3, $4, $5, $6, $7)";
    let Caller { device_id, counter, host_key, called_at, .. } = caller;
    let row = query_one(
        client,
        sql,
        &[client.gateway(), device_id, counter, host_key, called_at, report, &address],
    )
    .await?;
    let (Json(peers), Json(options)) = (row.try_get(2)?, row.try_get(3)?);
    Ok(SharedFolder { id: row.try_get(0)?, label: row.try_get(1)?, peers, options })
}

/// Another device of the caller's project, by name. Fails with 401 if the caller is not known any more.
pub(crate) async fn find_device(
    client: &impl GenericClient,
    caller: &Caller,
    name: &str,
) -> Result<Option<DeviceAddresses>, ApiError> {
    let sql = "SELECT name, role, addresses, last_seen_at FROM nebula.find_device(nebula.actor($1), $2, $3, $4, $5, $6)";
    let Caller { device_id, counter, host_key, called_at, .. } = caller;
    let row =
        query_opt(client, sql, &[client.gateway(), device_id, counter, host_key, called_at, &name]).await?;
    row.map(|row| {
        let (name, role) = (row.try_get(0)?, row.try_get(1)?);
        Ok(DeviceAddresses { name, role, addresses: row.try_get(2)?, last_seen_at: row.try_get(3)? })
    })
    .transpose()
}

/// The device leaves for good. Fails with 401 if the device is not known any more, or the call is stale or
/// repeated.
pub(crate) async fn leave(
    client: &impl GenericClient,
    caller: &Caller,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.leave_project(nebula.actor($1), $2, $3, $4, $5, $6)";
    let Caller { device_id, counter, host_key, called_at, .. } = caller;
    query_one(client, sql, &[client.gateway(), device_id, counter, host_key, called_at, &address])
        .await
        .map(drop)
}

/// Records that a call or an enrolment was refused, and how many refusals like it were left out since the
/// last record.
pub(crate) async fn refuse(
    client: &impl GenericClient,
    device_id: Option<Uuid>,
    reason: &str,
    address: Option<IpAddr>,
    left_out: u64,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.refuse_call(nebula.actor($1), $2, $3, $4, $5)";
    let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
    query_one(client, sql, &[client.gateway(), &device_id, &reason, &address, &left_out]).await.map(drop)
}
