//! Projects: listing, the filter that every listing takes, and what this gateway knows of those it serves.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::project::Project;
use serde::Deserialize;
use uuid::Uuid;

mod known;

use crate::auth::Actor;
use crate::{ApiError, AppState, database};

pub use known::{Known, Projects};

/// Query of the listings.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ProjectFilter {
    /// Only this project; without it, every project the caller sees.
    pub project_id: Option<Uuid>,
}

/// Projects the caller sees, by name.
#[utoipa::path(get, path = "/api/projects", tag = "project",
    responses((status = 200, description = "Projects", body = Envelope<Vec<Project>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Project>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::project::list(&client, actor.account_id).await?)))
}
