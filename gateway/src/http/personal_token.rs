//! `/api/account/tokens`: personal tokens, and the look-up of those that requests carry.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError, web};
use nebula_api::Envelope;
use nebula_api::personal_token::{CreatePersonalToken, NewPersonalToken, PersonalToken};
use uuid::Uuid;

use crate::database::personal_token as database;
use crate::domain::auth::personal_token as domain;
use crate::error::ApiError;
use crate::http::extractor::{Actor, bearer};
use crate::http::no_store::NoStore;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Makes a token by which a program acts for the caller. This answer is the only one that shows it.
#[utoipa::path(post, path = "/api/account/tokens", tag = "auth", request_body = CreatePersonalToken,
    responses((status = 200, description = "Made", body = Envelope<NewPersonalToken>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<CreatePersonalToken>>,
) -> Result<NoStore<Envelope<NewPersonalToken>>, ApiError> {
    let (wanted, address) = (body.into_inner().0, client_address(&request));
    domain::create(&state.database, &actor.account, wanted, address).await.map(Envelope::new).map(NoStore)
}

/// Personal tokens of the caller, the newest first.
#[utoipa::path(get, path = "/api/account/tokens", tag = "auth",
    responses((status = 200, description = "Tokens", body = Envelope<Vec<PersonalToken>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<PersonalToken>>>, ApiError> {
    let client = state.database.client().await?;
    database::list(&client, &actor.account, None).await.map(Envelope::new).map(web::Json)
}

/// Personal tokens of an account, the newest first.
#[utoipa::path(get, path = "/api/accounts/{id}/tokens", tag = "account", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Tokens", body = Envelope<Vec<PersonalToken>>)))]
pub(crate) async fn list_of_account(
    state: web::Data<AppState>,
    actor: Actor,
    account_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Vec<PersonalToken>>>, ApiError> {
    let client = state.database.client().await?;
    database::list(&client, &actor.account, Some(*account_id)).await.map(Envelope::new).map(web::Json)
}

/// Ends a personal token of the caller or, for operators, of anybody, at once.
#[utoipa::path(delete, path = "/api/account/tokens/{id}", tag = "auth", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Ended", body = Envelope<serde_json::Value>)))]
pub(crate) async fn end(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    token_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::end(&client, &actor.account, *token_id, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Middleware: asks the database for the account of a personal token before a handler asks for it. Extractors do not
/// wait for the database.
pub(crate) async fn look_up<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if let Some(state) = request.app_data::<web::Data<AppState>>().cloned()
        && let Err(refusal) = admit(&state, &request).await
    {
        return Ok(request.into_response(refusal.error_response()).map_into_right_body());
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

async fn admit(state: &AppState, request: &ServiceRequest) -> Result<(), ApiError> {
    match personal_token(request.headers()) {
        Some(token) => look_up_token(state, token, client_address(request.request())).await,
        None => Ok(()),
    }
}

/// The same for a request that has not reached the application.
pub(crate) async fn look_up_early(state: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    match personal_token(headers) {
        Some(token) => look_up_token(state, token, None).await,
        None => Ok(()),
    }
}

async fn look_up_token(
    state: &AppState,
    token: &str,
    address: Option<std::net::IpAddr>,
) -> Result<(), ApiError> {
    let tokens = &state.tokens;
    tokens.holders().look_up(&state.database, tokens.signer(), token, address).await
}

fn personal_token(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).filter(|token| domain::is_well_formed(token))
}
