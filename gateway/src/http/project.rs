//! `/api/projects`.

use actix_web::{HttpRequest, web};
use nebula_api::project::{NewProject, Project};
use nebula_api::{Envelope, Page};

use crate::database::project as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::list::WholeQuery;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Projects the caller sees, by name.
#[utoipa::path(get, path = "/api/projects", tag = "project", params(WholeQuery),
    responses((status = 200, description = "Projects", body = Page<Project>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<WholeQuery>,
) -> Result<web::Json<Page<Project>>, ApiError> {
    let client = state.database.client().await?;
    query.page(database::list(&client, &actor.account).await?)
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
