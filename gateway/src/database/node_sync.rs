//! Calls of the agents of nodes: reports of interfaces, and their desired state.

use chrono::{DateTime, Utc};
use nebula_api::node_sync::NodeState;
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::query::{GenericClient, query_one};
use crate::error::ApiError;

/// An answer to a report.
#[derive(Debug, Deserialize)]
pub(crate) struct Synced {
    #[serde(flatten)]
    pub(crate) state: NodeState,
    /// Whether it has something that no generation counts and the node may not know yet: the firewall or the
    /// networks of the project.
    #[serde(default)]
    pub(crate) due: bool,
}

/// Takes a report, which acknowledges what the node has applied; answers the desired state, as changes of the
/// state that the report names. Fails with 404 the device represents no node, 409 the report is older than
/// another one.
pub(crate) async fn take_report(
    client: &impl GenericClient,
    device_id: Uuid,
    said_at: DateTime<Utc>,
    report: &Value,
) -> Result<Synced, ApiError> {
    let sql = "SELECT nebula.sync_node(nebula.actor($1), $2, $3, $4)";
    let Json(synced) =
        query_one(client, sql, &[client.gateway(), &device_id, &said_at, report]).await?.try_get(0)?;
    Ok(synced)
}

/// The desired state, as changes of the state that the report names, without taking the report. Fails with
/// 404 the device represents no node.
pub(crate) async fn state(
    client: &impl GenericClient,
    device_id: Uuid,
    report: &Value,
) -> Result<NodeState, ApiError> {
    let sql = "SELECT nebula.node_state(nebula.actor($1), $2, $3)";
    let Json(state) = query_one(client, sql, &[client.gateway(), &device_id, report]).await?.try_get(0)?;
    Ok(state)
}
