//! `/api/uploads` by the draft "Resumable Uploads for HTTP" of the IETF (draft-ietf-httpbis-resumable-upload, as of
//! November 2026), on the same uploads as tus. Requests without `Tus-Resumable` are taken for it.
//!
//! Not there: `104 Upload Resumption Supported`, which would tell the URL of an upload while its first request is still
//! sending. The only informational response that actix writes is `100 Continue`, by itself. A client that wants to go
//! on after a loss begins with an empty body, as the draft advises where 104 may not arrive.

use std::time::SystemTime;

use actix_web::http::Method;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_LOCATION, ContentDisposition, HeaderMap,
    HeaderValue, LOCATION,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::Envelope;
use uuid::Uuid;

use super::announce::{CreateQuery, number, offset, text, wanted};
use super::drain_refused;
use crate::database::Account;
use crate::domain::file;
use crate::domain::rate_limit::Limit;
use crate::domain::upload::resumable::request::{Part, Progress, Purpose};
use crate::error::{ApiError, WRONG_STATE};
use crate::http::body_limit::BodyTimer;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::state::AppState;

pub(super) const LIMIT: &str = "Upload-Limit";
const COMPLETE: &str = "Upload-Complete";
const BYTES: &str = "application/partial-upload";

/// Whether a request is one of the draft. A creation needs a header, since a client may have forgotten that of tus.
pub(super) fn is_spoken(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let is_look = matches!(*request.method(), Method::HEAD | Method::DELETE);
    !headers.contains_key("Tus-Resumable") && (is_look || headers.contains_key(COMPLETE))
}

/// Begins an upload; one that is complete with this request is answered as `POST /api/files` is.
pub(super) async fn create(
    state: web::Data<AppState>,
    actor: Result<Actor, ApiError>,
    request: HttpRequest,
    query: web::Query<CreateQuery>,
    mut body: web::Payload,
) -> HttpResponse {
    let begun = async {
        let actor = actor?;
        let query = completed(query.into_inner(), request.headers());
        let part = part(&request, 0)?;
        let size = part.total.or(part.length.filter(|_| part.is_last));
        let purpose = Purpose::File(wanted(query, "")?);
        // First, because a refusal after the creation would leave an upload whose URL nobody knows.
        state.limits.take_both(Limit::Uploads, actor.account.id, client_address(&request)).await?;
        let _permit = state.transfers.of_account(actor.account.id)?;
        let begun = state.resumable.create(&actor.account, purpose, size, None).await?;
        BodyTimer::allow_upload(&request);
        let progress = match begun.progress {
            Some(progress) => progress,
            None => match state.resumable.append(&actor.account, begun.id, part, &mut body).await {
                Ok(progress) => progress,
                Err(error) => {
                    // No client knows the URL; one that stays is swept later.
                    let _ = state.resumable.remove(&actor.account, begun.id).await;
                    return Err(error);
                }
            },
        };
        if progress.file_id.is_some() {
            return made(&state, &actor.account, &progress, HttpResponse::Created()).await;
        }
        let mut response = HttpResponse::Created();
        response.insert_header((LOCATION, format!("/api/uploads/{}", begun.id)));
        show(&mut response, &state, &progress);
        Ok(response.finish())
    };
    match begun.await {
        Ok(response) => drain_refused::respond(response, body).await,
        Err(error) => refuse(error, true, None, body).await,
    }
}

/// Where an upload goes on.
pub(super) async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    id: Uuid,
) -> HttpResponse {
    match state.resumable.progress(&actor.account, id, client_address(&request)).await {
        Ok(progress) => {
            let mut response = HttpResponse::NoContent();
            show(&mut response, &state, &progress);
            response.finish()
        }
        Err(error) => error.error_response(),
    }
}

/// Appends bytes; the last ones make the file, which is the answer.
pub(super) async fn append(
    state: web::Data<AppState>,
    actor: Result<Actor, ApiError>,
    request: HttpRequest,
    id: Uuid,
    mut body: web::Payload,
) -> HttpResponse {
    let account = actor.as_ref().ok().map(|actor| actor.account.clone());
    let appended = async {
        let actor = actor?;
        let part = part(&request, offset(request.headers(), BYTES)?)?;
        let _permit = state.transfers.of_account(actor.account.id)?;
        BodyTimer::allow_upload(&request);
        let progress = state.resumable.append(&actor.account, id, part, &mut body).await?;
        if progress.file_id.is_some() {
            return made(&state, &actor.account, &progress, HttpResponse::Ok()).await;
        }
        let mut response = HttpResponse::NoContent();
        show(&mut response, &state, &progress);
        Ok(response.finish())
    };
    match appended.await {
        Ok(response) if response.status() == 204 => response,
        Ok(response) => drain_refused::respond(response, body).await,
        Err(error) => {
            // An upload that was refused at its end is gone, and there is nothing to go on with.
            let left = match account {
                Some(account) if error.meaning().status < 500 => {
                    state.resumable.progress(&account, id, None).await.ok()
                }
                _ => None,
            };
            let is_over = left.is_none() && error.meaning().status < 500 && !error.is_not_found();
            let offset = left.filter(|_| error.meaning() == WRONG_STATE).map(|progress| progress.offset);
            refuse(error, is_over, offset, body).await
        }
    }
}

/// Ends an upload.
pub(super) async fn remove(state: web::Data<AppState>, actor: Actor, id: Uuid) -> HttpResponse {
    match state.resumable.remove(&actor.account, id).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => error.error_response(),
    }
}

/// The limits of uploads, or of one that ends at a time.
pub(super) fn limits(state: &AppState, expires_at: Option<SystemTime>) -> String {
    let age = expires_at
        .map_or(state.resumable.lifetime(), |at| at.duration_since(SystemTime::now()).unwrap_or_default());
    let max = state.uploads.max_size().map(|max| format!("max-size={max}, ")).unwrap_or_default();
    format!("{max}max-age={}", age.as_secs())
}

fn show(response: &mut HttpResponseBuilder, state: &AppState, progress: &Progress) {
    response.insert_header((COMPLETE, if progress.file_id.is_some() { "?1" } else { "?0" }));
    response.insert_header(("Upload-Offset", progress.offset.to_string()));
    if let Some(size) = progress.size {
        response.insert_header(("Upload-Length", size.to_string()));
    }
    if let Some(file_id) = progress.file_id {
        response.insert_header((CONTENT_LOCATION, format!("/api/files/{file_id}")));
    }
    response.insert_header((LIMIT, limits(state, Some(progress.expires_at))));
    response.insert_header((CACHE_CONTROL, "no-store"));
}

/// The answer of the resource that has got its file.
async fn made(
    state: &AppState,
    account: &Account,
    progress: &Progress,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, ApiError> {
    let file_id = progress.file_id.unwrap_or_default();
    let file = file::find(&state.database, account, file_id).await?;
    response.insert_header((LOCATION, format!("/api/files/{file_id}")));
    show(&mut response, state, progress);
    Ok(response.json(Envelope::new(file)))
}

async fn refuse(error: ApiError, is_over: bool, offset: Option<u64>, body: web::Payload) -> HttpResponse {
    let mut response = error.error_response();
    let headers = response.headers_mut();
    let complete = HeaderValue::from_static(if is_over { "?1" } else { "?0" });
    headers.insert(actix_web::http::header::HeaderName::from_static("upload-complete"), complete);
    if let Some(offset) = offset {
        let name = actix_web::http::header::HeaderName::from_static("upload-offset");
        headers.insert(name, HeaderValue::from(offset));
    }
    drain_refused::respond(response, body).await
}

fn part(request: &HttpRequest, offset: u64) -> Result<Part, ApiError> {
    let headers = request.headers();
    let is_last = match text(headers, COMPLETE) {
        Some("?1") => true,
        Some("?0") => false,
        _ => {
            return Err(ApiError::bad_argument("Upload-Complete cannot be read")
                .hint("It is ?1 if the bytes end with this request, else ?0."));
        }
    };
    let length = number(headers, CONTENT_LENGTH.as_str())?;
    let total = number(headers, "Upload-Length")?;
    Ok(Part { offset, length, total, is_last, checksum: None, address: client_address(request) })
}

/// The query with what the headers of a request say.
pub(super) fn completed(query: CreateQuery, headers: &HeaderMap) -> CreateQuery {
    let name = query.name.or_else(|| file_name(headers));
    let sha256 = query.sha256.or_else(|| announced_sha256(headers));
    CreateQuery { name, sha256, ..query }
}

/// The name in `Content-Disposition`.
fn file_name(headers: &HeaderMap) -> Option<String> {
    let disposition = ContentDisposition::from_raw(headers.get(CONTENT_DISPOSITION)?).ok()?;
    let extended = disposition.get_filename_ext().and_then(|name| String::from_utf8(name.value.clone()).ok());
    extended.or_else(|| disposition.get_filename().map(str::to_owned))
}

/// The checksum of the whole in `Repr-Digest`, in hexadecimal.
fn announced_sha256(headers: &HeaderMap) -> Option<String> {
    let mut digests = text(headers, "Repr-Digest")?.split(',');
    let digest = digests.find_map(|digest| digest.trim().strip_prefix("sha-256=:")?.strip_suffix(':'))?;
    BASE64_STANDARD.decode(digest).ok().map(hex::encode)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn requests_of_the_draft_are_told_from_those_of_tus() {
        let request = |method: Method, header: (&'static str, &'static str)| {
            is_spoken(&TestRequest::default().method(method).insert_header(header).to_http_request())
        };
        assert!(request(Method::POST, (COMPLETE, "?0")));
        assert!(request(Method::HEAD, ("Accept", "*/*")));
        assert!(!request(Method::POST, ("Upload-Length", "1")));
        assert!(!request(Method::DELETE, ("Tus-Resumable", "1.0.0")));
    }

    #[test]
    fn name_and_checksum_come_from_the_usual_headers() {
        let headers = |name: &'static str, value: &'static str| {
            TestRequest::default().insert_header((name, value)).to_http_request().headers().clone()
        };
        let both =
            headers("Content-Disposition", "inline; filename=\"a.mkv\"; filename*=UTF-8''%C3%9Cber.mkv");
        assert_eq!(file_name(&both).as_deref(), Some("Über.mkv"));
        assert_eq!(
            file_name(&headers("Content-Disposition", "inline; filename=\"a.mkv\"")).as_deref(),
            Some("a.mkv")
        );
        assert_eq!(file_name(&headers("Accept", "*/*")), None);
        let digests = headers("Repr-Digest", "md5=:YQ==:, sha-256=:AAEC:");
        assert_eq!(announced_sha256(&digests).as_deref(), Some("000102"));
    }
}
