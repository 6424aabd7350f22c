//! Nodes and their secrets.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::node::{EnabledNode, Node, NodeChanges, NodeRequest, Secret};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use super::vault::SECRET;
use crate::error::ApiError;

/// Nodes by name.
/// Fails with 403 not an administrator.
pub(crate) async fn list(client: &impl GenericClient, actor: &Account) -> Result<Vec<Node>, ApiError> {
    let rows = query(client, "SELECT nebula.list_nodes(nebula.actor($1))", &[&actor]).await?;
    map_rows(&rows, |row| row.try_get(0).map(|Json(node)| node))
}

/// Nodes that a peer of a project can be placed on, for every member, by name.
/// Fails with 404 no such project, or not a member.
pub(crate) async fn list_enabled(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
) -> Result<Vec<EnabledNode>, ApiError> {
    let sql = "SELECT nebula.list_enabled_nodes(nebula.actor($1), $2)";
    let rows = query(client, sql, &[&actor, &project_id]).await?;
    map_rows(&rows, |row| row.try_get(0).map(|Json(node)| node))
}

/// Registers a node, or updates it; answers its identifier. Fails with 403 not an administrator, 400
/// malformed, 409 the range overlaps another node's, or more peers than allowed.
pub(crate) async fn register(
    client: &impl GenericClient,
    actor: &Account,
    request: &NodeRequest,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.register_node_for(nebula.actor($1), $2, $3, $4, $5, $6, $7)";
    let NodeRequest { name, endpoint, weight, max_peers, cidr, capabilities } = request;
    let row =
        query_one(client, sql, &[&actor, name, endpoint, weight, max_peers, cidr, capabilities]).await?;
    Ok(row.try_get(0)?)
}

/// Changes a node; answers it. Fails with 403 not an administrator, 404 no such node, 400 malformed, 409 the
/// name is taken, or more peers than allowed.
pub(crate) async fn update(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
    changes: &NodeChanges,
    address: Option<IpAddr>,
) -> Result<Node, ApiError> {
    let sql = "SELECT nebula.update_node_for(nebula.actor($1), $2, $3, $4)";
    let row = query_one(client, sql, &[&actor, &node_id, &Json(changes), &address]).await?;
    let Json(node) = row.try_get(0)?;
    Ok(node)
}

/// Removes a node; by force also one that has peers, whose addresses are then free without its word.
/// Fails with 403 not an administrator, 404 no such node, 409 it has peers.
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
    force: bool,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.remove_node_for(nebula.actor($1), $2, $3, $4)";
    query_one(client, sql, &[&actor, &node_id, &force, &address]).await.map(drop)
}

/// Lets the agent of a device represent a node; `None` ends that. Fails with 403 not an administrator, 404 no
/// such node or device, 409 the device is revoked, or represents another node.
pub(crate) async fn tie(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
    device_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.tie_node_for(nebula.actor($1), $2, $3, $4)";
    query_one(client, sql, &[&actor, &node_id, &device_id, &address]).await.map(drop)
}

/// The secrets of a node, newest first, without their bytes.
/// Fails with 403 not an administrator, 404 no such node.
pub(crate) async fn list_secrets(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
) -> Result<Vec<Secret>, ApiError> {
    let sql = "SELECT * FROM nebula.list_node_secrets(nebula.actor($1), $2)";
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
    actor: &Account,
    node_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(Uuid, Vec<u8>), ApiError> {
    let sql = "SELECT nebula.make_node_secret_for(nebula.actor($1), $2, $3, $4)";
    let secret: [u8; SECRET] = rand::random();
    let sealed = client.gateway().seal(node_id, &secret)?;
    let row = query_one(client, sql, &[&actor, &node_id, &sealed, &address]).await?;
    Ok((row.try_get(0)?, secret.to_vec()))
}

/// Retires a secret: the named one, or else the older of two; answers its key identifier.
/// Fails with 403 not an administrator, 404 no such node or secret, 409 none is named and there are not two.
pub(crate) async fn retire_secret(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
    key_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.retire_node_secret_for(nebula.actor($1), $2, $3, $4)";
    Ok(query_one(client, sql, &[&actor, &node_id, &key_id, &address]).await?.try_get(0)?)
}

/// A secret of a node.
#[derive(Clone)]
pub(crate) struct NodeSecret {
    pub(crate) key_id: Uuid,
    pub(crate) bytes: Vec<u8>,
}

/// Leaves out the bytes, which must not get into a log.
impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSecret").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The secrets that calls of a node may be signed with.
pub(crate) async fn secrets(client: &impl GenericClient, node_id: Uuid) -> Result<Vec<NodeSecret>, ApiError> {
    let rows = query(
        client,
        "SELECT key_id, secret FROM nebula.node_secrets(nebula.actor($1), $2)",
        &[client.gateway(), &node_id],
    )
    .await?;
    let open = |row: &Row| {
        let bytes = client.gateway().open(node_id, row.try_get(1)?)?;
        Ok(NodeSecret { key_id: row.try_get(0)?, bytes })
    };
    rows.iter().map(open).collect()
}

/// Seals the secrets that are not sealed yet, which an administrator made in SQL or an earlier release; answers how many.
pub(crate) async fn seal_secrets(client: &impl GenericClient) -> Result<usize, ApiError> {
    let sql = "SELECT key_id, node_id, secret FROM nebula.unsealed_node_secrets(nebula.actor($1))";
    let rows = query(client, sql, &[client.gateway()]).await?;
    for row in &rows {
        let (key_id, node_id): (Uuid, Uuid) = (row.try_get(0)?, row.try_get(1)?);
        let sealed = client.gateway().seal(node_id, row.try_get(2)?)?;
        let sql = "SELECT nebula.seal_node_secret(nebula.actor($1), $2, $3)";
        query_one(client, sql, &[client.gateway(), &key_id, &sealed]).await?;
    }
    Ok(rows.len())
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
    let sql = "SELECT nebula.accept_node_call(nebula.actor($1), $2, $3, $4, $5)";
    query_one(client, sql, &[client.gateway(), &node_id, &key_id, &nonce, &made_at]).await.map(drop)
}

/// Number of nodes whose reports are equally recent.
pub(crate) struct NodeCount {
    /// `healthy`, `late`, `lost` or `unknown`.
    pub(crate) state: String,
    pub(crate) nodes: i64,
    /// Peers of these nodes, and the limit of peers of all of them.
    pub(crate) seats: i64,
    pub(crate) max_seats: i64,
    /// Age of the oldest secret of these nodes.
    pub(crate) oldest_secret_seconds: Option<f64>,
}

/// Counts for metrics.
pub(crate) async fn counts(client: &impl GenericClient) -> Result<Vec<NodeCount>, ApiError> {
    let sql = "SELECT state, nodes, seats, seats_max, oldest_secret_seconds FROM nebula.node_counts(nebula.actor($1))";
    map_rows(&query(client, sql, &[client.gateway()]).await?, |row| {
        Ok(NodeCount {
            state: row.try_get(0)?,
            nodes: row.try_get(1)?,
            seats: row.try_get(2)?,
            max_seats: row.try_get(3)?,
            oldest_secret_seconds: row.try_get(4)?,
        })
    })
}
