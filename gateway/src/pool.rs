//! Pools: usage.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::pool::PoolUsage;

use crate::auth::Actor;
use crate::project::ProjectFilter;
use crate::{ApiError, AppState, database};

/// Usage of the pools the caller sees.
#[utoipa::path(get, path = "/api/pools", tag = "pool", params(ProjectFilter),
    responses((status = 200, description = "Pools", body = Envelope<Vec<PoolUsage>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectFilter>,
) -> Result<web::Json<Envelope<Vec<PoolUsage>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::pool::list(&client, actor.account_id, filter.project_id).await?)))
}
