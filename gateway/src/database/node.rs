//! Nodes and their secrets.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use nebula_api::node::{Node, NodeRequest, Secret};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;

/// Nodes by name.
///
/// # Errors
/// 403 not an administrator.
pub async fn list(client: &impl GenericClient, actor: Uuid) -> Result<Vec<Node>, ApiError> {
    each(&rows(client, "SELECT * FROM nebula.list_nodes($1)", &[&actor]).await?, |row| {
        Ok(Node {
            node_id: row.try_get("node_id")?,
            name: row.try_get("name")?,
            endpoint: row.try_get("endpoint")?,
            weight: row.try_get("weight")?,
            max_peers: row.try_get("max_peers")?,
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

/// Makes a node known, or brings it up to date; answers it.
///
/// # Errors
/// 403 not an administrator, 400 malformed, 409 the range of another node, or more peers than are to be.
pub async fn register(
    client: &impl GenericClient,
    actor: Uuid,
    wanted: &NodeRequest,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.register_node_for($1, $2, $3, $4, $5, $6, $7)";
    let NodeRequest { name, endpoint, weight, max_peers, cidr, capabilities } = wanted;
    let row = one(client, sql, &[&actor, name, endpoint, weight, max_peers, cidr, capabilities]).await?;
    Ok(row.try_get(0)?)
}

/// Lets the agent of a device speak for a node, or nobody.
///
/// # Errors
/// 403 not an administrator, 404 no such node or device, 409 revoked, or it speaks for another node.
pub async fn tie(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
    device_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.tie_node_for($1, $2, $3, $4::text::inet)";
    let address = address.map(|address| address.to_string());
    one(client, sql, &[&actor, &node_id, &device_id, &address]).await.map(drop)
}

/// Secrets of a node without the secrets, newest first.
///
/// # Errors
/// 403 not an administrator, 404 no such node.
pub async fn list_secrets(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
) -> Result<Vec<Secret>, ApiError> {
    let sql = "SELECT * FROM nebula.list_node_secrets($1, $2)";
    each(&rows(client, sql, &[&actor, &node_id]).await?, |row| {
        Ok(Secret {
            key_id: row.try_get("key_id")?,
            made_by: row.try_get("made_by")?,
            made_at: row.try_get("made_at")?,
            used_at: row.try_get("used_at")?,
            retired_at: row.try_get("retired_at")?,
        })
    })
}

/// Makes a secret; answers what names it, and the 32 bytes, which nobody can ask for again.
///
/// # Errors
/// 403 not an administrator, 404 no such node, 409 it has two already.
pub async fn make_secret(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(Uuid, Vec<u8>), ApiError> {
    let sql = "SELECT key_id, secret FROM nebula.make_node_secret_for($1, $2, $3::text::inet)";
    let address = address.map(|address| address.to_string());
    let row = one(client, sql, &[&actor, &node_id, &address]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Ends a secret, of two the older unless one is named; answers which.
///
/// # Errors
/// 403 not an administrator, 404 no such node or secret, 409 none is named and there are no two.
pub async fn retire_secret(
    client: &impl GenericClient,
    actor: Uuid,
    node_id: Uuid,
    key_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.retire_node_secret_for($1, $2, $3, $4::text::inet)";
    let address = address.map(|address| address.to_string());
    Ok(one(client, sql, &[&actor, &node_id, &key_id, &address]).await?.try_get(0)?)
}

/// The secrets that calls of a node may be signed with.
///
/// # Errors
/// Those of the database.
pub async fn secrets(client: &impl GenericClient, node_id: Uuid) -> Result<Vec<(Uuid, Vec<u8>)>, ApiError> {
    let found = rows(client, "SELECT key_id, secret FROM nebula.node_secrets($1)", &[&node_id]).await?;
    each(&found, |row| Ok((row.try_get(0)?, row.try_get(1)?)))
}

/// Notes a call whose signature was verified with this secret.
///
/// # Errors
/// 401 stale, made before, or the secret was retired.
pub async fn accept_call(
    client: &impl GenericClient,
    node_id: Uuid,
    key_id: Uuid,
    nonce: &str,
    made_at: DateTime<Utc>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.accept_node_call($1, $2, $3, $4)";
    one(client, sql, &[&node_id, &key_id, &nonce, &made_at]).await.map(drop)
}
