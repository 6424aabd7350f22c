//! WireGuard interfaces of nodes, and the device whose agent runs that of this server.

use std::net::IpAddr;

use nebula_api::node::{NodeInterface, NodeInterfaceRequest};
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, query_one};
use crate::error::ApiError;

/// The request as the database reads it.
#[derive(Debug, Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    request: &'a NodeInterfaceRequest,
}

/// Adds an interface, or changes the one with this name; answers it. Fails with 403 not an administrator, 404
/// no such node, 400 malformed, 409 its network overlaps another.
pub(crate) async fn set(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
    name: &str,
    request: &NodeInterfaceRequest,
    address: Option<IpAddr>,
) -> Result<NodeInterface, ApiError> {
    let sql = "SELECT nebula.set_interface_for(nebula.actor($1), $2, $3, $4)";
    let named = Json(Named { name, request });
    let Json(interface) = query_one(client, sql, &[&actor, &node_id, &named, &address]).await?.try_get(0)?;
    Ok(interface)
}

/// Removes an interface; by force also one that has peers. Fails with 403 not an administrator, 404 no such
/// node or interface, 409 it has peers.
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    node_id: Uuid,
    name: &str,
    force: bool,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.drop_interface_for(nebula.actor($1), $2, $3, $4, $5)";
    query_one(client, sql, &[&actor, &node_id, &name, &force, &address]).await.map(drop)
}

/// Lets the agent of a device run the interface of this server for a project; `None` ends that. Fails with
/// 403 not an administrator, 404 no such project or device, 409 the device represents another node.
pub(crate) async fn set_local_device(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    device_id: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.set_local_device_for(nebula.actor($1), $2, $3, $4)";
    query_one(client, sql, &[&actor, &project_id, &device_id, &address]).await.map(drop)
}
