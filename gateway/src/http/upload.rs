//! `POST /api/files`: the bytes of the file are the body.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use nebula_api::Envelope;
use nebula_api::file::{File, UploadQuery};

use crate::domain::rate_limit::Limit;
use crate::domain::upload::NewUpload;
use crate::error::{ApiError, MEDIA_TYPE};
use crate::http::body_limit::BodyTimer;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::http::parameter;
use crate::state::AppState;

mod announce;
mod draft;
mod drain_refused;
pub(crate) mod expect;
pub(crate) mod tus;

/// Stores a file in a project. The body is the file itself. Uploading the same bytes again finds the first
/// file.
#[utoipa::path(post, path = "/api/files", tag = "files", params(UploadQuery),
    request_body(content = String, content_type = "application/octet-stream",
        description = "The bytes of the file"),
    responses(
        (status = 201, description = "Stored", body = Envelope<File>),
        (status = 200, description = "These bytes are there already under this name", body = Envelope<File>),
        (status = 400, description = "Empty, cut off, or not what its name says"),
        (status = 409, description = "Another file has this name"),
        (status = 413, description = "Larger than allowed"),
        (status = 507, description = "No space left, on the disk or by a quota"),
    ))]
pub(crate) async fn upload(
    state: web::Data<AppState>,
    actor: Result<Actor, ApiError>,
    request: HttpRequest,
    query: Result<web::Query<UploadQuery>, actix_web::Error>,
    mut body: web::Payload,
) -> HttpResponse {
    let received = match (actor, query) {
        (Ok(actor), Ok(query)) => receive(&state, actor, &request, query.into_inner(), &mut body).await,
        (Err(error), _) => Err(error),
        (Ok(_), Err(error)) => return drain_refused::respond(error.error_response(), body).await,
    };
    match received {
        Ok((file, created)) => {
            let mut response = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
            response.insert_header((LOCATION, format!("/api/files/{}", file.file_id)));
            // Bytes that were there already may not have been read.
            drain_refused::respond(response.json(Envelope::new(file)), body).await
        }
        Err(error) => drain_refused::respond(error.error_response(), body).await,
    }
}

async fn receive(
    state: &AppState,
    actor: Actor,
    request: &HttpRequest,
    asked: UploadQuery,
    body: &mut web::Payload,
) -> Result<(File, bool), ApiError> {
    refuse_wrapped(request)?;
    parameter::check_names(request.query_string(), &["projectId", "folder", "name", "sha256"])?;
    state.limits.take_both(Limit::Uploads, actor.account.id, client_address(request)).await?;
    let _permit = state.transfers.of_account(actor.account.id)?;
    BodyTimer::allow_upload(request);
    let upload = NewUpload {
        account: actor.account,
        query: asked,
        content_length: content_length(request),
        address: client_address(request),
    };
    Arc::clone(&state.uploads).receive(upload, body).await
}

/// Refuses forms and compressed bodies: the body must be the bytes of the file alone.
fn refuse_wrapped(request: &HttpRequest) -> Result<(), ApiError> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(CONTENT_TYPE).to_ascii_lowercase().starts_with("multipart/") {
        return Err(ApiError::new(
            MEDIA_TYPE,
            "the body is a form, this route takes the bytes of the file alone",
        )
        .hint("Send the file as the body, for example: curl --data-binary @FILE URL."));
    }
    if !matches!(text(CONTENT_ENCODING).trim(), "" | "identity") {
        return Err(ApiError::new(
            MEDIA_TYPE,
            "the body is compressed, this route takes the bytes of the file alone",
        )
        .hint("Send it without Content-Encoding."));
    }
    Ok(())
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
