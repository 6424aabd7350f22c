//! WireGuard interfaces of nodes, and the device whose agent runs that of this server.

use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::node::{NodeDevice, NodeInterface, NodeInterfaceRequest};
use uuid::Uuid;

use super::node::Force;
use crate::database::node_interface as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Adds a WireGuard interface to a node, or changes the one with this name.
#[utoipa::path(put, path = "/api/nodes/{nodeId}/interfaces/{name}", tag = "node",
    params(("nodeId" = Uuid, Path), ("name" = String, Path)), request_body = NodeInterfaceRequest,
    responses((status = 200, description = "The interface as it is now", body = Envelope<NodeInterface>)))]
pub(crate) async fn set(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<(Uuid, String)>,
    body: web::Json<Object<NodeInterfaceRequest>>,
) -> Result<web::Json<Envelope<NodeInterface>>, ApiError> {
    let client = state.database.client().await?;
    let ((node_id, name), address) = (path.into_inner(), client_address(&request));
    let interface = database::set(&client, &actor.account, node_id, &name, &body, address).await?;
    Ok(web::Json(Envelope::new(interface)))
}

/// Removes an interface of a node; by force also one with peers, whose addresses are then free without the
/// node's word.
#[utoipa::path(delete, path = "/api/nodes/{nodeId}/interfaces/{name}", tag = "node",
    params(("nodeId" = Uuid, Path), ("name" = String, Path), Force),
    responses((status = 200, description = "Gone", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<(Uuid, String)>,
    choice: web::Query<Force>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    let ((node_id, name), address) = (path.into_inner(), client_address(&request));
    database::remove(&client, &actor.account, node_id, &name, choice.force, address).await?;
    Ok(web::Json(Envelope::new(())))
}

/// Lets the agent of a device run the WireGuard interface of this server for a project; null ends that.
#[utoipa::path(put, path = "/api/projects/{projectId}/local-device", tag = "node",
    params(("projectId" = Uuid, Path)), request_body = NodeDevice,
    responses((status = 200, description = "Done", body = Envelope<NodeDevice>)))]
pub(crate) async fn set_local_device(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
    body: web::Json<Object<NodeDevice>>,
) -> Result<web::Json<Envelope<NodeDevice>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    database::set_local_device(&client, &actor.account, *path, body.device_id, address).await?;
    Ok(web::Json(Envelope::new(**body)))
}
