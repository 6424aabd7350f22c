//! Uploads whose clients ask before they send (`Expect: 100-continue`): a refusal comes before the body travels.

use actix_http::{Request, Response};
use actix_web::body::BoxBody;
use actix_web::http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::{HttpMessage, ResponseError, web};
use nebula_api::file::UploadQuery;

use super::announce::{CreateQuery, number, text, wanted};
use super::{draft, tus};
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::personal_token;
use crate::state::AppState;

/// Lets the request go on, after which the client is told to send the body, or answers the refusal.
pub(crate) async fn ask(state: web::Data<AppState>, request: Request) -> Result<Request, Response<BoxBody>> {
    match check(&state, &request).await {
        Ok(()) => Ok(request),
        Err(refusal) => {
            tracing::info!(path = request.path(), %refusal, "refused before the body was sent");
            let mut response = refusal.error_response();
            if request.headers().contains_key(tus::RESUMABLE) {
                let name = HeaderName::from_static("tus-resumable");
                response.headers_mut().insert(name, HeaderValue::from_static(tus::VERSION));
            }
            // The client may send the body all the same, so that nothing that follows on the connection can be read.
            response.head_mut().set_connection_type(ConnectionType::Close);
            Err(response.into())
        }
    }
}

/// The checks of an upload that need none of its bytes. All other requests go on. A malformed announcement is refused
/// by the handler, which says what is wrong with it.
async fn check(state: &AppState, request: &Request) -> Result<(), ApiError> {
    personal_token::look_up_early(state, request.headers()).await?;
    let id = request.path().strip_prefix("/api/uploads/").and_then(|id| id.parse().ok());
    let length = number(request.headers(), CONTENT_LENGTH.as_str()).ok().flatten();
    match (request.method(), request.path(), id) {
        (&Method::POST, "/api/files", _) => {
            let actor = Actor::from_headers(&state.tokens, request.headers())?;
            let query = web::Query::<UploadQuery>::from_query(query(request));
            let Ok(mut asked) = query else { return Ok(()) };
            state.uploads.admit(&actor.account, &mut asked, length).await.map(drop)
        }
        (&Method::POST, "/api/uploads", _) => {
            let actor = Actor::from_headers(&state.tokens, request.headers())?;
            let Some((mut asked, size)) = announced(request) else { return Ok(()) };
            state.uploads.admit(&actor.account, &mut asked, size).await.map(drop)
        }
        (&Method::PATCH, _, Some(id)) => {
            let actor = Actor::from_headers(&state.tokens, request.headers())?;
            let Ok(Some(offset)) = number(request.headers(), "Upload-Offset") else { return Ok(()) };
            state.resumable.admit_bytes(&actor.account, id, offset, length.unwrap_or(0)).await
        }
        _ => Ok(()),
    }
}

fn query(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

/// The file and the size that a creation announces; `None` for parts, which are of no file yet.
fn announced(request: &Request) -> Option<(UploadQuery, Option<u64>)> {
    let headers = request.headers();
    if headers.contains_key(tus::CONCAT) {
        return None;
    }
    let query = web::Query::<CreateQuery>::from_query(query(request)).ok()?.into_inner();
    let metadata = text(headers, "Upload-Metadata").unwrap_or_default();
    let asked = wanted(draft::completed(query, headers), metadata).ok()?;
    Some((asked, number(headers, "Upload-Length").ok().flatten()))
}
