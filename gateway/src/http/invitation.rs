//! `/api/invitations` and `/api/projects/{projectId}/invitations`.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::Envelope;
use nebula_api::invitation::{
    AcceptInvitation, AcceptedInvitation, Invitation, InvitationCode, InvitationRequest, JoinedProject,
    NewInvitation, OpenInvitation,
};
use uuid::Uuid;

use crate::database::invitation as database;
use crate::domain::invitation::{Visitor, link};
use crate::error::ApiError;
use crate::http::enrolment::server_url;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Invites a person into a project, who makes an account by the link or joins with the one that it has. Only this
/// response has code and link. Administrators of the project invite viewers and members, owners everybody.
#[utoipa::path(post, path = "/api/projects/{projectId}/invitations", tag = "account",
    params(("projectId" = Uuid, Path)), request_body = InvitationRequest,
    responses((status = 200, description = "Made", body = Envelope<NewInvitation>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    project_id: web::Path<Uuid>,
    body: web::Json<Object<InvitationRequest>>,
) -> Result<HttpResponse, ApiError> {
    invite(&state, &actor, &request, Some(*project_id), &body).await
}

/// Invites a person who makes an account without a project, such as that of another operator.
#[utoipa::path(post, path = "/api/invitations", tag = "account", request_body = InvitationRequest,
    responses((status = 200, description = "Made", body = Envelope<NewInvitation>)))]
pub(crate) async fn create_account(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<InvitationRequest>>,
) -> Result<HttpResponse, ApiError> {
    invite(&state, &actor, &request, None, &body).await
}

async fn invite(
    state: &AppState,
    actor: &Actor,
    request: &HttpRequest,
    project_id: Option<Uuid>,
    body: &InvitationRequest,
) -> Result<HttpResponse, ApiError> {
    let client = state.database.client().await?;
    let made = database::create(&client, &actor.account, project_id, body, client_address(request)).await?;
    let new = NewInvitation {
        invitation_id: made.invitation_id,
        url: link(&server_url(state.public_url.as_deref(), request), &made.code),
        code: made.code,
        expires_at: made.expires_at,
    };
    // No cache on the way may keep the code.
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Envelope::new(new)))
}

/// Invitations into a project of the last 90 days, newest first, without their codes.
#[utoipa::path(get, path = "/api/projects/{projectId}/invitations", tag = "account",
    params(("projectId" = Uuid, Path)),
    responses((status = 200, description = "Invitations", body = Envelope<Vec<Invitation>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    project_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Vec<Invitation>>>, ApiError> {
    let client = state.database.client().await?;
    database::list(&client, &actor.account, Some(*project_id)).await.map(Envelope::new).map(web::Json)
}

/// Invitations to make an account without a project, newest first, without their codes.
#[utoipa::path(get, path = "/api/invitations", tag = "account",
    responses((status = 200, description = "Invitations", body = Envelope<Vec<Invitation>>)))]
pub(crate) async fn list_accounts(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Invitation>>>, ApiError> {
    let client = state.database.client().await?;
    database::list(&client, &actor.account, None).await.map(Envelope::new).map(web::Json)
}

/// Takes an invitation back that was not accepted yet.
#[utoipa::path(delete, path = "/api/invitations/{id}", tag = "account", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Taken back", body = Envelope<serde_json::Value>)))]
pub(crate) async fn revoke(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    invitation_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::revoke(&client, &actor.account, *invitation_id, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// The invitation behind a code. It is in the body, so that no log has it.
#[utoipa::path(post, path = "/api/invitations/show", tag = "account", request_body = InvitationCode,
    responses((status = 200, description = "The invitation", body = Envelope<OpenInvitation>)))]
pub(crate) async fn show(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Json<Object<InvitationCode>>,
) -> Result<web::Json<Envelope<OpenInvitation>>, ApiError> {
    let client = state.database.client().await?;
    visitor(&state, &request).find(&client, &body.code).await.map(Envelope::new).map(web::Json)
}

/// Makes the account that a code invites, with the name and the password that its holder chooses.
#[utoipa::path(post, path = "/api/invitations/accept", tag = "account", request_body = AcceptInvitation,
    responses((status = 200, description = "Made", body = Envelope<AcceptedInvitation>)))]
pub(crate) async fn accept(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Json<Object<AcceptInvitation>>,
) -> Result<web::Json<Envelope<AcceptedInvitation>>, ApiError> {
    let visitor = visitor(&state, &request);
    let account_id = visitor.accept(&state.database, &state.passwords, body.into_inner().0).await?;
    Ok(web::Json(Envelope::new(AcceptedInvitation { account_id })))
}

/// Makes the caller a member of the project that a code invites to.
#[utoipa::path(post, path = "/api/invitations/join", tag = "account", request_body = InvitationCode,
    responses((status = 200, description = "Joined", body = Envelope<JoinedProject>)))]
pub(crate) async fn join(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<InvitationCode>>,
) -> Result<web::Json<Envelope<JoinedProject>>, ApiError> {
    let client = state.database.client().await?;
    let project_id = visitor(&state, &request).join(&client, &actor.account, &body.code).await?;
    Ok(web::Json(Envelope::new(JoinedProject { project_id })))
}

fn visitor<'a>(state: &'a AppState, request: &HttpRequest) -> Visitor<'a> {
    Visitor { limits: &state.limits, address: client_address(request) }
}
