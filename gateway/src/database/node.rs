//! Nodes and their secrets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::node::{DesiredState, Liveness, Node, NodeRequest, Secret};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Nodes by name.
/// Fails with 403 not an administrator.
pub(crate) async fn list(client: &impl GenericClient, actor: Uuid) -> Result<Vec<Node>, ApiError> {
    map_rows(&query(client, "SELECT * FROM nebula.list_nodes($1)", &[&actor]).await?, |row| {
        Ok(Node {
            node_id: row.try_get("node_id")?,
            name: row.try_get("name")?,
            endpoint: row.try_get("endpoint")?,
            weight: row.try_get("weight")?,
            max_peers: row.try_get("max_peers")?,
            project_id: None,
            project: None,
            local: false,
            soft_max_peers: None,
            labels: BTreeMap::new(),
            state: Liveness::Unknown,
            desired_state: DesiredState::Active,
            repair: true,
            obstacles: vec![],
            interfaces: vec![],
            active_peers: row.try_get("active_peers")?,
            cidr: row.try_get("cidr")?,
            capabilities: row.try_get("capabilities")?,
            score: row.try_get("score")?,
            eligible: row.try_get("eligible")?,
            reason: row.try_get("reason")?,
            device_id: row.try_get("device_id")?,
            device: row.try_get("device")?,
            secrets: row.try_get("secrets")?,
            seen_at: row.try_get("seen_at")?,
            health: row.try_get::<_, Option<Json<_>>>("health")?.map(|Json(health)| health),
        })
    })
}

/// Registers a node, or updates it; answers its identifier. Fails with 403 not an administrator, 400
/// malformed, 409 the range overlaps another node's, or more peers than allowed.
pub(crate) async fn register(
    client: &impl GenericClient,
    actor: Uuid,
    request: &NodeRequest,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.register_node_for($1, $2, $3, $4, $5, $6, $7)";
    let NodeRequest { name, endpoint, weight, max_peers, cidr, capabilities } = request;
    let row =
        query_one(client, sql, &[&actor, name, endpoint, weight, max_peers, cidr, capabilities]).await?;
    Ok(row.try_get(0)?)
}

/// Lets the agent of a device represent a node; `None` ends that. Fails with 403 not an administrator, 404 no
/// such node or device, 409 the device is revoked, or represents another node.
pub(crate) async fn tie(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
    device_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.tie_node_for($1, $2, $3, $4)";
    query_one(client, sql, &[&actor, &node_id, &device_id, &address]).await.map(drop)
}

/// The secrets of a node, newest first, without their bytes.
/// Fails with 403 not an administrator, 404 no such node.
pub(crate) async fn list_secrets(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
) -> Result<Vec<Secret>, ApiError> {
    let sql = "SELECT * FROM nebula.list_node_secrets($1, $2)";
    map_rows(&query(client, sql, &[&actor, &node_id]).await?, |row| {
        Ok(Secret {
            key_id: row.try_get("key_id")?,
            made_by: row.try_get("made_by")?,
            made_at: row.try_get("made_at")?,
            used_at: row.try_get("used_at")?,
            retired_at: row.try_get("retired_at")?,
        })
    })
}

/// Makes a secret; answers its key identifier and its 32 bytes, which cannot be read again.
/// Fails with 403 not an administrator, 404 no such node, 409 it has two already.
pub(crate) async fn make_secret(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(Uuid, Vec<u8>), ApiError> {
    let sql = "SELECT key_id, secret FROM nebula.make_node_secret_for($1, $2, $3)";
    let row = query_one(client, sql, &[&actor, &node_id, &address]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Retires a secret: the named one, or else the older of two; answers its key identifier.
/// Fails with 403 not an administrator, 404 no such node or secret, 409 none is named and there are not two.
pub(crate) async fn retire_secret(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
    key_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.retire_node_secret_for($1, $2, $3, $4)";
    Ok(query_one(client, sql, &[&actor, &node_id, &key_id, &address]).await?.try_get(0)?)
}

/// The secrets that calls of a node may be signed with.
pub(crate) async fn secrets(
    client: &impl GenericClient,
    node_id: Uuid,
) -> Result<Vec<(Uuid, Vec<u8>)>, ApiError> {
    let rows = query(client, "SELECT key_id, secret FROM nebula.node_secrets($1)", &[&node_id]).await?;
    map_rows(&rows, |row| Ok((row.try_get(0)?, row.try_get(1)?)))
}

/// Notes a call whose signature was verified with this secret. Fails with 401 if the call is stale or
/// repeated, or the secret was retired.
pub(crate) async fn accept_call(
    client: &impl GenericClient,
    node_id: Uuid,
    key_id: Uuid,
    nonce: &str,
    made_at: DateTime<Utc>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.accept_node_call($1, $2, $3, $4)";
    query_one(client, sql, &[&node_id, &key_id, &nonce, &made_at]).await.map(drop)
}
