//! `/api/projects/{projectId}/members`.

use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::account::{Member, SetMember};
use uuid::Uuid;

use crate::database::member as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Members of a project and their roles, owners first.
#[utoipa::path(get, path = "/api/projects/{projectId}/members", tag = "account",
    params(("projectId" = Uuid, Path)),
    responses((status = 200, description = "Members", body = Envelope<Vec<Member>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    project_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Vec<Member>>>, ApiError> {
    let client = state.database.client().await?;
    database::list(&client, &actor.account, *project_id).await.map(Envelope::new).map(web::Json)
}

/// Adds an account to a project, or gives a member another role.
#[utoipa::path(put, path = "/api/projects/{projectId}/members", tag = "account",
    params(("projectId" = Uuid, Path)), request_body = SetMember,
    responses((status = 200, description = "Set", body = Envelope<serde_json::Value>)))]
pub(crate) async fn set(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    project_id: web::Path<Uuid>,
    member: web::Json<Object<SetMember>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::set(&client, &actor.account, *project_id, &member, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Ends a membership; members may end their own. Devices and files of the account stay in the project.
#[utoipa::path(delete, path = "/api/projects/{projectId}/members/{id}", tag = "account",
    params(("projectId" = Uuid, Path), ("id" = Uuid, Path, description = "The account")),
    responses((status = 200, description = "Ended", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<(Uuid, Uuid)>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let (project_id, account_id) = path.into_inner();
    let client = state.database.client().await?;
    database::remove(&client, &actor.account, project_id, account_id, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}
