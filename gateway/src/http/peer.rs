//! `/api/peers`: WireGuard peers of projects, and their `.conf` files.

use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::peer::{CreatePeers, Peer, PeerChanges, PeerChoice, PeerConfig, PeerResult};
use nebula_api::{Envelope, Page};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::peer as database;
use crate::domain::peer::single;
use crate::error::ApiError;
use crate::http::extractor::{Actor, Batch};
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

type Results = Result<web::Json<Envelope<Vec<PeerResult>>>, ApiError>;

/// Query of `GET /api/peers`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListQuery {
    /// Only this project; without it, every project the caller sees.
    project_id: Option<Uuid>,
    /// Only peers after this one, as `cursor`.
    after: Option<Uuid>,
    /// `next` of the page before.
    cursor: Option<Uuid>,
    /// How many at most: 1 to 1000; all without it.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Peers of the projects the caller sees.
#[utoipa::path(get, path = "/api/peers", tag = "peer", params(ListQuery),
    responses((status = 200, description = "Peers, by name", body = Page<Peer>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<Peer>>, ApiError> {
    let client = state.database.client().await?;
    let ListQuery { project_id, after, cursor, max } = *query;
    let peers = database::list(&client, &actor.account, project_id, cursor.or(after), max).await?;
    let is_full = max.is_some_and(|max| i32::try_from(peers.len()) == Ok(max));
    let next = peers.last().filter(|_| is_full).map(|peer| peer.peer_id.to_string());
    Ok(web::Json(Page::new(peers, next)))
}

/// Creates peers, all in one transaction, with a result for each. With `wait` the response comes when their
/// nodes have applied them; those that are not applied in time are withdrawn, and 503 is the response if that
/// is so for all.
#[utoipa::path(post, path = "/api/peers", tag = "peer", request_body = CreatePeers,
    responses((status = 200, description = "A result for each item", body = Envelope<Vec<PeerResult>>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: Batch<Object<CreatePeers>>,
) -> Results {
    let address = client_address(&request);
    let results = state.peers.create(actor.account, body.0.0, address).await?;
    Ok(web::Json(Envelope::new(results)))
}

/// Changes a peer; its node follows.
#[utoipa::path(patch, path = "/api/peers/{peerId}", tag = "peer", params(("peerId" = Uuid, Path)),
    request_body = PeerChanges,
    responses((status = 200, description = "The peer as it is now", body = Envelope<Peer>)))]
pub(crate) async fn update(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
    body: web::Json<Object<PeerChanges>>,
) -> Result<web::Json<Envelope<Peer>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    let peer = database::update(&client, &actor.account, *path, &body, address).await?;
    Ok(web::Json(Envelope::new(peer)))
}

/// Removes a peer. Its address is free when its node has confirmed that it is gone.
#[utoipa::path(delete, path = "/api/peers/{peerId}", tag = "peer", params(("peerId" = Uuid, Path)),
    responses((status = 200, description = "Leaving", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove_one(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let choice = PeerChoice { peer_ids: vec![*path], strategy: None, wait: 0 };
    let results = state.peers.remove(&actor.account, choice, client_address(&request)).await?;
    single(results)?;
    Ok(web::Json(Envelope::new(())))
}

/// The `.conf` of a peer, with a placeholder for the private key, which only its owner has.
#[utoipa::path(get, path = "/api/peers/{peerId}/config", tag = "peer", params(("peerId" = Uuid, Path)),
    responses((status = 200, description = "The file", body = Envelope<PeerConfig>)))]
pub(crate) async fn config(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<HttpResponse, ApiError> {
    let client = state.database.client().await?;
    let config = database::config(&client, &actor.account, *path).await?;
    // It can hold a preshared key, which no cache on the way may keep.
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(Envelope::new(config)))
}

/// Moves peers to other nodes, with a result for each. A peer stays on its node until it has been seen on the
/// other one.
#[utoipa::path(post, path = "/api/peers/move", tag = "peer", request_body = PeerChoice,
    responses((status = 200, description = "A result for each item", body = Envelope<Vec<PeerResult>>)))]
pub(crate) async fn move_to(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: Batch<Object<PeerChoice>>,
) -> Results {
    let results = state.peers.move_to(actor.account, body.0.0, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(results)))
}

/// Lets a peer that moves stay on its node; the other one gives it up.
#[utoipa::path(delete, path = "/api/peers/{peerId}/move", tag = "peer", params(("peerId" = Uuid, Path)),
    responses((status = 200, description = "The peer as it is now", body = Envelope<Peer>)))]
pub(crate) async fn cancel_move(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Peer>>, ApiError> {
    let client = state.database.client().await?;
    let peer = database::cancel_move(&client, &actor.account, *path, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(peer)))
}

/// Removes peers, with a result for each.
#[utoipa::path(post, path = "/api/peers/remove", tag = "peer", request_body = PeerChoice,
    responses((status = 200, description = "A result for each item", body = Envelope<Vec<PeerResult>>)))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: Batch<Object<PeerChoice>>,
) -> Results {
    let results = state.peers.remove(&actor.account, body.0.0, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(results)))
}
