//! Signing in: passwords, two tokens, and who is calling.
//!
//! A short access token (JWT, 15 minutes) is checked without the database; a long refresh token (30 days) is random,
//! known to the database by hash only, and good for one exchange.

use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::auth::{Identity, LoginRequest, RefreshRequest, TokenPair};

use crate::error::NOT_AUTHENTICATED;
use crate::{ApiError, AppState, database};

mod extractor;
mod password;
mod session;
mod token;

pub use extractor::{Actor, client_address};
pub use password::{Passwords, hash_password, matches};
pub use token::{ACCESS_LIFETIME, AccessClaims, TokenError, Tokens, now};

/// Signs in with a name and a password.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = LoginRequest,
    responses((status = 200, description = "Signed in", body = TokenPair)))]
pub async fn login(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Json<LoginRequest>,
) -> Result<web::Json<TokenPair>, ApiError> {
    let username = body.username.trim().to_lowercase();
    // The connection is not held while the password is checked: that takes long on purpose.
    let found = database::account::login(&state.database.client().await?, &username).await?;
    let hash = found.as_ref().map(|login| login.password_hash.clone());
    let correct = state.passwords.verify(body.into_inner().password, hash).await?;
    let Some(login) = found.filter(|_| correct) else {
        return Err(ApiError::new(NOT_AUTHENTICATED, "the name or the password is wrong")
            .hint("Check both; an administrator can set a new password with nebula-gateway account."));
    };
    let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let account = Identity { account_id: login.account_id, username, role: login.role };
    session::open(&state, account, client_address(&request), agent).await.map(web::Json)
}

/// Exchanges a refresh token for a new pair. An old one that comes back ends the whole session.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", request_body = RefreshRequest,
    responses((status = 200, description = "Exchanged", body = TokenPair)))]
pub async fn refresh(
    state: web::Data<AppState>,
    body: web::Json<RefreshRequest>,
) -> Result<web::Json<TokenPair>, ApiError> {
    session::rotate(&state, &body.refresh_token).await.map(web::Json)
}

/// Ends the session of a refresh token; one that has ended already is no error.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", request_body = RefreshRequest,
    responses((status = 200, description = "Signed out", body = Envelope<serde_json::Value>)))]
pub async fn logout(
    state: web::Data<AppState>,
    body: web::Json<RefreshRequest>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    session::close(&state, &body.refresh_token).await?;
    Ok(web::Json(Envelope::new(())))
}

/// Who the access token belongs to.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth",
    responses((status = 200, description = "The caller", body = Envelope<Identity>)))]
pub async fn me(actor: Actor) -> web::Json<Envelope<Identity>> {
    web::Json(Envelope::new(Identity {
        account_id: actor.account_id,
        username: actor.username,
        role: actor.role,
    }))
}
