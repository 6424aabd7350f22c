//! `/api/projects`, and the filter that most lists take.

use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::project::{NewProject, Project};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::project as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Query of the listings.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ProjectFilter {
    /// Only this project; without it, every project the caller sees.
    pub(crate) project_id: Option<Uuid>,
}

/// Projects the caller sees, by name.
#[utoipa::path(get, path = "/api/projects", tag = "project",
    responses((status = 200, description = "Projects", body = Envelope<Vec<Project>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Project>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list(&client, &actor.account).await?)))
}

/// Creates a project with a pool of addresses. The gateway makes its certificate authority with the first device.
#[utoipa::path(post, path = "/api/projects", tag = "project", request_body = NewProject,
    responses((status = 200, description = "Created", body = Envelope<Project>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    project: web::Json<Object<NewProject>>,
) -> Result<web::Json<Envelope<Project>>, ApiError> {
    let client = state.database.client().await?;
    database::create(&client, &actor.account, &project, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}
