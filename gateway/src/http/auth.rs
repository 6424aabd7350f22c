//! `/api/auth`: signing in and out.

use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::auth::{Identity, LoginRequest, RefreshRequest, TokenPair};

use crate::database::event::account_role;
use crate::domain::auth::session;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::no_store::NoStore;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Name of the header by which a client repeats a request without doing it twice.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Signs in with a name and a password; accounts with a second factor, with a code, too.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = LoginRequest,
    responses((status = 200, description = "Signed in", body = TokenPair)))]
pub(crate) async fn login(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Json<Object<LoginRequest>>,
) -> Result<NoStore<TokenPair>, ApiError> {
    let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let address = client_address(&request);
    session::sign_in(&state.database, &state.tokens, &state.passwords, &body, address, agent)
        .await
        .map(NoStore)
}

/// Exchanges a refresh token for a new pair. A refresh token that is used again ends the whole session, but for a client
/// whose answer was lost: within 10 s it may repeat the exchange with the same `Idempotency-Key`, which it makes for
/// each refresh token and keeps as secret.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", request_body = RefreshRequest,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, description = "Exchanged", body = TokenPair)))]
pub(crate) async fn refresh(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Json<Object<RefreshRequest>>,
) -> Result<NoStore<TokenPair>, ApiError> {
    let key = request.headers().get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok());
    session::rotate(&state.database, &state.tokens, &body.refresh_token, key).await.map(NoStore)
}

/// Ends the session of a refresh token. A session that has ended already is no error.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", request_body = RefreshRequest,
    responses((status = 200, description = "Signed out", body = Envelope<serde_json::Value>)))]
pub(crate) async fn logout(
    state: web::Data<AppState>,
    body: web::Json<Object<RefreshRequest>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    session::close(&state.database, &body.refresh_token).await?;
    Ok(web::Json(Envelope::new(())))
}

/// The account of the access token.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth",
    responses((status = 200, description = "The caller", body = Envelope<Identity>)))]
pub(crate) async fn me(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Identity>>, ApiError> {
    let role = account_role(&state.database.client().await?, &actor.account).await?;
    // The role may have changed since the token was signed.
    let role = role.unwrap_or(actor.role);
    Ok(web::Json(Envelope::new(Identity { account_id: actor.account.id, username: actor.username, role })))
}
