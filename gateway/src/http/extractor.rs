//! The account that a request acts for, by the header `Authorization`, and bodies that list a batch. The
//! address of the client is in [`super::origin`].

use std::future::{Ready, ready};

use actix_web::dev::{JsonBody, Payload};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::TryFutureExt;
use futures::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::database::proof::TokenError;
use crate::database::{Account, Grant};
use crate::domain::auth::token::Tokens;
use crate::error::{ApiError, NOT_AUTHENTICATED};
use crate::http::error::json_error;
use crate::state::AppState;

/// Largest body with a batch, in bytes: a thousand items.
const BATCH_LIMIT: usize = 1024 * 1024;

/// The account a request acts for. A handler with this argument needs a valid access token. The SQL function
/// that gets `account` decides what the account may do.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) account: Account,
    /// The session of the access token; `None` for a personal token.
    pub(crate) session_id: Option<Uuid>,
    pub(crate) username: String,
    /// `admin` or `member`, as of the token; for display, never for a decision.
    pub(crate) role: String,
}

impl Actor {
    /// Reads an access token, or a personal token that was looked up. Fails with 401.
    fn from_token(tokens: &Tokens, token: &str) -> Result<Self, ApiError> {
        if let Some(holder) = tokens.holders().holder(token) {
            let account = Account::of_holder(tokens.signer(), &holder, token);
            return Ok(Self { account, session_id: None, username: holder.username, role: holder.role });
        }
        let invalid = || {
            ApiError::new(NOT_AUTHENTICATED, "the access token is not valid")
                .hint("Sign in: POST /api/auth/login.")
                .reason("unknown")
        };
        let claims = tokens.signer().open(token).map_err(|error| match error {
            TokenError::Expired => ApiError::new(NOT_AUTHENTICATED, "the access token has expired")
                .hint("Exchange the refresh token: POST /api/auth/refresh.")
                .reason("expired"),
            TokenError::Invalid => invalid(),
        })?;
        let account = Account::of_token(tokens.signer(), &claims, token).ok_or_else(invalid)?;
        let Grant::Session(session_id) = account.grant else { return Err(invalid()) };
        let session_id = Some(session_id);
        Ok(Self { account, session_id, username: claims.username, role: claims.role })
    }

    /// Reads the header `Authorization`. Fails with 401.
    pub(crate) fn from_request_head(request: &HttpRequest) -> Result<Self, ApiError> {
        Self::from_headers(&state_of(request)?.tokens, request.headers())
    }

    /// The same of a request that has not reached its handler.
    pub(crate) fn from_headers(tokens: &Tokens, headers: &HeaderMap) -> Result<Self, ApiError> {
        match bearer(headers) {
            Some(token) => Self::from_token(tokens, token),
            None => Err(ApiError::new(NOT_AUTHENTICATED, "this route needs an access token").hint(
                "Sign in with POST /api/auth/login and send the header Authorization: Bearer <accessToken>.",
            )),
        }
    }
}

/// The token of the header `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    header
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

/// The state of the application, for extractors; handlers take it as an argument.
pub(super) fn state_of(request: &HttpRequest) -> Result<&web::Data<AppState>, ApiError> {
    request
        .app_data::<web::Data<AppState>>()
        .ok_or_else(|| ApiError::internal(&"the state is missing from the application"))
}

impl FromRequest for Actor {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let actor = Self::from_request_head(request);
        if let Ok(actor) = &actor {
            request.extensions_mut().insert(actor.account.clone());
        }
        ready(actor)
    }
}

/// The JSON body of a signed-in account, which may list a thousand items.
#[derive(Debug)]
pub(crate) struct Batch<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest for Batch<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Strangers must not make the gateway keep large bodies.
        if let Err(unauthenticated) = Actor::from_request_head(request) {
            return Box::pin(ready(Err(unauthenticated)));
        }
        let body = JsonBody::new(request, payload, None, true).limit(BATCH_LIMIT);
        Box::pin(body.map_ok(Self).map_err(|error| json_error(&error, "1 MB")))
    }
}
