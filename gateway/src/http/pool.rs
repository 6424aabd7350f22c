//! `/api/pools`: usage.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::pool::PoolUsage;

use crate::database::pool as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::project::ProjectFilter;
use crate::state::AppState;

/// Usage of the pools the caller sees.
#[utoipa::path(get, path = "/api/pools", tag = "pool", params(ProjectFilter),
    responses((status = 200, description = "Pools", body = Envelope<Vec<PoolUsage>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectFilter>,
) -> Result<web::Json<Envelope<Vec<PoolUsage>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list(&client, &actor.account, filter.project_id).await?)))
}
