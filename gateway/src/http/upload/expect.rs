//! Uploads whose clients ask before they send (`Expect: 100-continue`): a refusal comes before the body travels.

use actix_http::{Request, Response};
use actix_web::body::BoxBody;
use actix_web::http::header::{CONTENT_LENGTH, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::{HttpMessage, ResponseError, web};
use nebula_api::file::UploadQuery;

use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::state::AppState;

/// Lets the request go on, after which the client is told to send the body, or answers the refusal.
pub(crate) async fn ask(state: web::Data<AppState>, request: Request) -> Result<Request, Response<BoxBody>> {
    match check(&state, &request).await {
        Ok(()) => Ok(request),
        Err(refusal) => {
            tracing::info!(path = request.path(), %refusal, "refused before the body was sent");
            let mut response = refusal.error_response();
            // The client may send the body all the same, so that nothing that follows on the connection can be read.
            response.head_mut().set_connection_type(ConnectionType::Close);
            Err(response.into())
        }
    }
}

/// The checks of an upload that need none of its bytes. All other requests go on.
async fn check(state: &AppState, request: &Request) -> Result<(), ApiError> {
    if request.method() != Method::POST || request.path() != "/api/files" {
        return Ok(());
    }
    let actor = Actor::from_headers(&state.tokens, request.headers())?;
    // A malformed query is refused by the handler, which says what is wrong with it.
    let query = request.uri().query().unwrap_or_default();
    let Ok(mut query) = web::Query::<UploadQuery>::from_query(query) else { return Ok(()) };
    let length = request.headers().get(CONTENT_LENGTH).map(HeaderValue::to_str);
    let length = length.and_then(Result::ok).and_then(|length| length.parse().ok());
    state.uploads.admit(actor.account_id, &mut query, length).await.map(drop)
}
