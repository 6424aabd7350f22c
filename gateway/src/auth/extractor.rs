//! Who is calling, from the `Authorization` header.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use uuid::Uuid;

use super::token::{AccessClaims, TokenError};
use crate::error::NOT_AUTHENTICATED;
use crate::{ApiError, AppState};

/// The account a request acts for. A handler that names it in its arguments needs a valid access token; what the
/// account may do is decided by the SQL function that is given `account_id`.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub username: String,
    /// `admin` or `member`, as of the token; for display, never for a decision.
    pub role: String,
    /// The session the token came from.
    pub session_id: Uuid,
}

impl Actor {
    /// Reads an access token, wherever it came from.
    ///
    /// # Errors
    /// 401, saying whether it expired or never was good.
    pub fn from_token(state: &AppState, token: &str) -> Result<Self, ApiError> {
        let claims: AccessClaims =
            state.tokens.open(token, AccessClaims::AUDIENCE).map_err(|error| match error {
                TokenError::Expired => ApiError::new(NOT_AUTHENTICATED, "the access token has expired")
                    .hint("Exchange the refresh token: POST /api/auth/refresh."),
                TokenError::Invalid => ApiError::new(NOT_AUTHENTICATED, "the access token is not valid")
                    .hint("Sign in: POST /api/auth/login."),
            })?;
        let AccessClaims { sub: account_id, username, role, session: session_id, .. } = claims;
        Ok(Self { account_id, username, role, session_id })
    }

    /// Reads the `Authorization` header.
    ///
    /// # Errors
    /// 401.
    pub fn from_request_head(request: &HttpRequest) -> Result<Self, ApiError> {
        let state = request
            .app_data::<web::Data<AppState>>()
            .ok_or_else(|| ApiError::internal(&"the state is missing from the application"))?;
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match token {
            Some(token) => Self::from_token(state, token),
            None => Err(ApiError::new(NOT_AUTHENTICATED, "this route needs an access token").hint(
                "Sign in with POST /api/auth/login and send the header Authorization: Bearer <accessToken>.",
            )),
        }
    }
}

impl FromRequest for Actor {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::from_request_head(request))
    }
}

/// The address of the connection's other end, for the record. Headers that claim another one are not believed.
pub fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}
