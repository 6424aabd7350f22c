//! `/api/pools`: usage, maps of it, and changes.

use actix_web::{HttpRequest, web};
use nebula_api::pool::{NewPool, PoolChanges, PoolMap, PoolUsage};
use nebula_api::{Envelope, Page};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::pool as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::list::ProjectQuery;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Usage of the pools the caller sees.
#[utoipa::path(get, path = "/api/pools", tag = "pool", params(ProjectQuery),
    responses((status = 200, description = "Pools", body = Page<PoolUsage>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectQuery>,
) -> Result<web::Json<Page<PoolUsage>>, ApiError> {
    let client = state.database.client().await?;
    filter.page(database::list(&client, &actor.account, filter.project_id).await?)
}

/// Creates a pool.
#[utoipa::path(post, path = "/api/pools", tag = "pool", request_body = NewPool,
    responses((status = 200, description = "Created", body = Envelope<PoolUsage>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    pool: web::Json<Object<NewPool>>,
) -> Result<web::Json<Envelope<PoolUsage>>, ApiError> {
    let client = state.database.client().await?;
    database::create(&client, &actor.account, &pool, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Query of `PATCH` and `DELETE /api/pools`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct PoolKey {
    /// The project of the pool.
    project_id: Uuid,
    /// Name of the pool.
    name: String,
}

/// Extends, shrinks, enables or disables a pool. Addresses that are held stay held.
#[utoipa::path(patch, path = "/api/pools", tag = "pool", params(PoolKey), request_body = PoolChanges,
    responses((status = 200, description = "Changed", body = Envelope<PoolUsage>)))]
pub(crate) async fn change(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    key: web::Query<PoolKey>,
    changes: web::Json<Object<PoolChanges>>,
) -> Result<web::Json<Envelope<PoolUsage>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    database::change(&client, &actor.account, key.project_id, &key.name, &changes, address)
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Removes a pool of which no address is held or in quarantine.
#[utoipa::path(delete, path = "/api/pools", tag = "pool", params(PoolKey),
    responses((status = 200, description = "Gone", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    key: web::Query<PoolKey>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::remove(&client, &actor.account, key.project_id, &key.name, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(())))
}

/// The part of a pool that is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MapQuery {
    /// A network in the pool, such as the cell of a map; the whole pool without it.
    prefix: Option<String>,
}

/// How addresses of a pool are used, in at most 256 cells.
#[utoipa::path(get, path = "/api/pools/{id}/map", tag = "pool", params(("id" = i32, Path), MapQuery),
    responses((status = 200, description = "The map", body = Envelope<PoolMap>)))]
pub(crate) async fn map(
    state: web::Data<AppState>,
    actor: Actor,
    pool_id: web::Path<i32>,
    query: web::Query<MapQuery>,
) -> Result<web::Json<Envelope<PoolMap>>, ApiError> {
    let client = state.database.client().await?;
    let map = database::map(&client, &actor.account, *pool_id, query.prefix.as_deref()).await?;
    Ok(web::Json(Envelope::new(map)))
}
