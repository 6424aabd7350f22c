//! `/api/projects/{projectId}/configuration` and the groups of devices. Agents fetch a changed configuration
//! themselves.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::project_options::{Groups, ProjectOptions};
use uuid::Uuid;

use crate::database::project_options as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::state::AppState;

/// ProjectOptions of a project.
#[utoipa::path(get, path = "/api/projects/{projectId}/configuration", tag = "project",
    params(("projectId" = Uuid, Path)),
    responses((status = 200, description = "Options", body = Envelope<ProjectOptions>)))]
pub(crate) async fn options(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<ProjectOptions>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::options(&client, &actor.account, *path).await?)))
}

/// Changes options; absent ones stay.
#[utoipa::path(patch, path = "/api/projects/{projectId}/configuration", tag = "project",
    params(("projectId" = Uuid, Path)), request_body = ProjectOptions,
    responses((status = 200, description = "All options as they are now", body = Envelope<ProjectOptions>)))]
pub(crate) async fn set_options(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
    // Not read as ProjectOptions here: the database names the option that is wrong, and what there is.
    body: web::Json<Object<serde_json::Map<String, serde_json::Value>>>,
) -> Result<web::Json<Envelope<ProjectOptions>>, ApiError> {
    // An answer of GET may be sent back; the database does not look at the version, which nobody sets.
    if body.get("version").is_some_and(|version| !version.is_null() && version.as_i64().is_none()) {
        return Err(ApiError::bad_argument("version is no whole number")
            .field("version")
            .hint("Leave it out: the database counts it."));
    }
    let client = state.database.client().await?;
    let options = database::set_options(&client, &actor.account, *path, &body).await?;
    Ok(web::Json(Envelope::new(options)))
}

/// Sets the groups of a device. Its next address comes from their ranges, and it gets a new certificate.
#[utoipa::path(put, path = "/api/devices/{deviceId}/groups", tag = "device",
    params(("deviceId" = Uuid, Path)),
    request_body = Groups,
    responses((status = 200, description = "Done", body = Envelope<Groups>)))]
pub(crate) async fn set_groups(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
    body: web::Json<Object<Groups>>,
) -> Result<web::Json<Envelope<Groups>>, ApiError> {
    let client = state.database.client().await?;
    database::set_groups(&client, &actor.account, *path, &body.groups).await?;
    Ok(web::Json(Envelope::new(body.into_inner().0)))
}
