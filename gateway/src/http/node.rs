//! `/api/nodes`: nodes, the device whose agent represents each, and the secrets that sign its calls.

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::node::{
    EnabledNode, NewSecret, Node, NodeChanges, NodeDevice, NodeId, NodeRequest, Retired, Secret,
};
use nebula_api::{Envelope, Page};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::node as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::list::WholeQuery;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Nodes, their health, and whether they take peers.
#[utoipa::path(get, path = "/api/nodes", tag = "node", params(WholeQuery),
    responses((status = 200, description = "Nodes", body = Page<Node>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<WholeQuery>,
) -> Result<web::Json<Page<Node>>, ApiError> {
    let client = state.database.client().await?;
    query.page(database::list(&client, &actor.account).await?)
}

/// Registers a node, or updates the one with this name.
#[utoipa::path(post, path = "/api/nodes", tag = "node", request_body = NodeRequest,
    responses((status = 200, description = "Known", body = Envelope<NodeId>)))]
pub(crate) async fn register(
    state: web::Data<AppState>,
    actor: Actor,
    body: web::Json<Object<NodeRequest>>,
) -> Result<web::Json<Envelope<NodeId>>, ApiError> {
    let client = state.database.client().await?;
    let node_id = database::register(&client, &actor.account, &body).await?;
    Ok(web::Json(Envelope::new(NodeId { node_id })))
}

/// Query of `GET /api/nodes/enabled`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Project {
    /// The project of the new peer.
    project_id: Uuid,
}

/// Nodes that a peer of a project can be placed on, with the reason why one takes none now.
#[utoipa::path(get, path = "/api/nodes/enabled", tag = "node", params(Project),
    responses((status = 200, description = "Nodes, by name", body = Envelope<Vec<EnabledNode>>)))]
pub(crate) async fn list_enabled(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<Project>,
) -> Result<web::Json<Envelope<Vec<EnabledNode>>>, ApiError> {
    let client = state.database.client().await?;
    let nodes = database::list_enabled(&client, &actor.account, filter.project_id).await?;
    Ok(web::Json(Envelope::new(nodes)))
}

/// Changes a node; its agent follows.
#[utoipa::path(patch, path = "/api/nodes/{nodeId}", tag = "node", params(("nodeId" = Uuid, Path)),
    request_body = NodeChanges,
    responses((status = 200, description = "The node as it is now", body = Envelope<Node>)))]
pub(crate) async fn update(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
    body: web::Json<Object<NodeChanges>>,
) -> Result<web::Json<Envelope<Node>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    let node = database::update(&client, &actor.account, *path, &body, address).await?;
    Ok(web::Json(Envelope::new(node)))
}

/// Query of removals.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Force {
    /// Removes it with its peers, although its agent has not confirmed that they are gone.
    #[serde(default)]
    #[param(required = false)]
    pub(super) force: bool,
}

/// Removes a node; by force also one with peers, whose addresses are then free without the node's word.
#[utoipa::path(delete, path = "/api/nodes/{nodeId}", tag = "node", params(("nodeId" = Uuid, Path), Force),
    responses((status = 200, description = "Gone", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
    choice: web::Query<Force>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    database::remove(&client, &actor.account, *path, choice.force, address).await?;
    Ok(web::Json(Envelope::new(())))
}

/// Lets the agent of a device represent a node; null ends that.
#[utoipa::path(put, path = "/api/nodes/{nodeId}/device", tag = "node", params(("nodeId" = Uuid, Path)),
    request_body = NodeDevice,
    responses((status = 200, description = "Done", body = Envelope<NodeDevice>)))]
pub(crate) async fn tie(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
    body: web::Json<Object<NodeDevice>>,
) -> Result<web::Json<Envelope<NodeDevice>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    database::tie(&client, &actor.account, *path, body.device_id, address).await?;
    Ok(web::Json(Envelope::new(**body)))
}

/// The secrets of a node, without their bytes.
#[utoipa::path(get, path = "/api/nodes/{nodeId}/secret", tag = "node", params(("nodeId" = Uuid, Path)),
    responses((status = 200, description = "Secrets, newest first", body = Envelope<Vec<Secret>>)))]
pub(crate) async fn secrets(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Vec<Secret>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list_secrets(&client, &actor.account, *path).await?)))
}

/// Makes a secret: the first, or a second one that will replace it. Both are valid until one is retired.
#[utoipa::path(post, path = "/api/nodes/{nodeId}/secret", tag = "node", params(("nodeId" = Uuid, Path)),
    responses((status = 200, description = "The secret, which is not shown again",
        body = Envelope<NewSecret>)))]
pub(crate) async fn make_secret(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> Result<HttpResponse, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    let (key_id, secret) = database::make_secret(&client, &actor.account, *path, address).await?;
    let new = NewSecret { node_id: *path, key_id, secret: STANDARD.encode(secret) };
    // No cache on the way may keep the secret.
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(Envelope::new(new)))
}

/// Query of `DELETE /api/nodes/{nodeId}/secret`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct SecretChoice {
    /// Identifier of the secret; without it, the older of two.
    key_id: Option<Uuid>,
}

/// Retires a secret.
#[utoipa::path(delete, path = "/api/nodes/{nodeId}/secret", tag = "node",
    params(("nodeId" = Uuid, Path), SecretChoice),
    responses((status = 200, description = "Not good any more", body = Envelope<Retired>)))]
pub(crate) async fn retire_secret(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
    choice: web::Query<SecretChoice>,
) -> Result<web::Json<Envelope<Retired>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    let key_id = database::retire_secret(&client, &actor.account, *path, choice.key_id, address).await?;
    Ok(web::Json(Envelope::new(Retired { key_id })))
}
