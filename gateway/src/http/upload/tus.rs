//! `/api/uploads`: uploads that go on after an interruption, by the protocol tus 1.0
//! (<https://tus.io/protocols>). Not there: `checksum-trailer`, because actix reads the trailers of a chunked body and
//! drops them; a checksum comes before the bytes, in `Upload-Checksum`.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, LOCATION,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use httpdate::fmt_http_date;
use uuid::Uuid;

use super::announce::{CreateQuery, number, offset, project, text, wanted};
use super::{draft, drain_refused};
use crate::domain::rate_limit::Limit;
use crate::domain::upload::resumable::request::{Checksum, Part, Progress, Purpose};
use crate::error::{ApiError, PRECONDITION};
use crate::files::upload::partial::Duplicate;
use crate::http::body_limit::BodyTimer;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::state::AppState;

pub(super) const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination,\
                          concatenation";
const ALGORITHMS: &str = "sha256,sha1,md5";
/// Of a creation: the file of this name and size, with whose checksum a client can compare its own.
const SAME_NAME: &str = "Nebula-Same-Name";
/// Of an upload that has become a file, if the project had `file` or `content` already.
const DUPLICATE: &str = "Nebula-Duplicate";
pub(super) const CONCAT: &str = "Upload-Concat";
/// The version that a request is written in.
pub(super) const RESUMABLE: &str = "Tus-Resumable";
const DEFER_LENGTH: &str = "Upload-Defer-Length";
const BYTES: &str = "application/offset+octet-stream";

/// Version and extensions of tus, checksums and the largest upload that this gateway takes.
#[utoipa::path(options, path = "/api/uploads", tag = "files",
    responses((status = 204, description = "Headers Tus-Version, Tus-Extension and so on")))]
pub(crate) async fn options(state: web::Data<AppState>) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header(("Tus-Extension", EXTENSIONS));
    response.insert_header(("Tus-Checksum-Algorithm", ALGORITHMS));
    if let Some(max) = state.uploads.max_size() {
        response.insert_header(("Tus-Max-Size", max.to_string()));
    }
    response.insert_header((draft::LIMIT, draft::limits(&state, None)));
    tus(response.finish())
}

/// Begins an upload of `Upload-Length` bytes; the first ones may be the body. Its URL is in `Location`. With
/// `Upload-Complete` instead of `Tus-Resumable`, by the draft of the IETF.
#[utoipa::path(post, path = "/api/uploads", tag = "files", params(CreateQuery),
    responses(
        (status = 201, description = "Begun; with all bytes in the body, also finished"),
        (status = 409, description = "Another file has this name"),
        (status = 412, description = "Tus-Resumable is not 1.0.0"),
        (status = 413, description = "Larger than allowed"),
        (status = 507, description = "No space left, on the disk or by a quota"),
    ))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Result<Actor, ApiError>,
    request: HttpRequest,
    query: web::Query<CreateQuery>,
    mut body: web::Payload,
) -> HttpResponse {
    if draft::is_spoken(&request) {
        return draft::create(state, actor, request, query, body).await;
    }
    let begun = async {
        let actor = actor?;
        check_version(&request)?;
        state.limits.take_both(Limit::Uploads, actor.account.id, client_address(&request)).await?;
        let metadata = text(request.headers(), "Upload-Metadata").map(str::to_owned);
        let (query, said) = (query.into_inner(), metadata.as_deref().unwrap_or_default());
        let purpose = match text(request.headers(), CONCAT) {
            None => Purpose::File(wanted(query, said)?),
            Some("partial") => Purpose::Part(project(&query, said)),
            Some(parts) => {
                let (parts, asked) = (part_ids(parts)?, wanted(query, said)?);
                let address = client_address(&request);
                let joined = state.resumable.join(&actor.account, asked, parts, metadata, address);
                let (id, progress) = joined.await?;
                let mut response = HttpResponse::Created();
                response.insert_header((LOCATION, format!("/api/uploads/{id}")));
                show(&mut response, &progress);
                return Ok(response.finish());
            }
        };
        let size = announced_size(request.headers())?;
        let part = (text(request.headers(), CONTENT_TYPE.as_str()) == Some(BYTES))
            .then(|| part(&request, 0))
            .transpose()?;
        // First, because a refusal after the creation would leave an upload whose URL nobody knows.
        let _permit = part.is_some().then(|| state.transfers.of_account(actor.account.id)).transpose()?;
        let begun = state.resumable.create(&actor.account, purpose, size, metadata).await?;
        let id = begun.id;
        let progress = match part {
            // A client that is still sending would not read the answer.
            _ if begun.progress.is_some() => {
                BodyTimer::allow_upload(&request);
                while let Some(Ok(_)) = body.next().await {}
                begun.progress
            }
            Some(part) => {
                BodyTimer::allow_upload(&request);
                // The client learns the URL also if the gateway fails now, and goes on there.
                let appended = state.resumable.append(&actor.account, id, part, &mut body).await;
                match appended {
                    Err(error) if error.meaning().status < 500 => {
                        // No client knows the URL; one that stays is swept later.
                        let _ = state.resumable.remove(&actor.account, id).await;
                        return Err(error);
                    }
                    appended => appended.ok(),
                }
            }
            None => None,
        };
        let mut response = HttpResponse::Created();
        response.insert_header((LOCATION, format!("/api/uploads/{id}")));
        if let Some(file_id) = begun.same_name {
            response.insert_header((SAME_NAME, format!("/api/files/{file_id}")));
        }
        match progress {
            Some(progress) => show(&mut response, &progress),
            None => expire(&mut response, state.resumable.expiry(id)),
        }
        Ok(response.finish())
    };
    answer(begun.await, body).await
}

/// Where an upload goes on: `Upload-Offset`. One that has become a file names it in `Content-Location`.
#[utoipa::path(head, path = "/api/uploads/{id}", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Upload-Offset, Upload-Length, Upload-Expires"),
        (status = 404, description = "No such upload of this account"),
        (status = 423, description = "Another request is writing it")))]
pub(crate) async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    id: web::Path<Uuid>,
) -> HttpResponse {
    if draft::is_spoken(&request) {
        return draft::status(state, actor, request, *id).await;
    }
    let looked = async {
        check_version(&request)?;
        let progress = state.resumable.progress(&actor.account, *id, client_address(&request)).await?;
        let mut response = HttpResponse::Ok();
        show(&mut response, &progress);
        match progress.size {
            Some(size) => response.insert_header(("Upload-Length", size.to_string())),
            None => response.insert_header((DEFER_LENGTH, "1")),
        };
        if progress.is_part {
            response.insert_header((CONCAT, "partial"));
        } else if !progress.parts.is_empty() {
            let parts: Vec<_> = progress.parts.iter().map(|id| format!("/api/uploads/{id}")).collect();
            response.insert_header((CONCAT, format!("final;{}", parts.join(" "))));
        }
        if let Some(metadata) = &progress.metadata {
            response.insert_header(("Upload-Metadata", metadata.as_str()));
        }
        Ok(response.finish())
    };
    tus(looked.await.unwrap_or_else(|error: ApiError| error.error_response()))
}

/// Appends the body to an upload at `Upload-Offset`. The last bytes make the file.
#[utoipa::path(patch, path = "/api/uploads/{id}", tag = "files", params(("id" = Uuid, Path)),
    request_body(content = String, content_type = "application/offset+octet-stream",
        description = "The bytes from Upload-Offset on"),
    responses(
        (status = 204, description = "Appended; the next Upload-Offset"),
        (status = 409, description = "The upload goes on elsewhere, or another file has its name"),
        (status = 415, description = "Content-Type is not application/offset+octet-stream"),
        (status = 423, description = "Another request is writing it"),
        (status = 460, description = "Upload-Checksum is not that of the bytes"),
    ))]
pub(crate) async fn append(
    state: web::Data<AppState>,
    actor: Result<Actor, ApiError>,
    request: HttpRequest,
    id: web::Path<Uuid>,
    mut body: web::Payload,
) -> HttpResponse {
    if draft::is_spoken(&request) {
        return draft::append(state, actor, request, *id, body).await;
    }
    let appended = async {
        let actor = actor?;
        check_version(&request)?;
        let part = part(&request, offset(request.headers(), BYTES)?)?;
        let _permit = state.transfers.of_account(actor.account.id)?;
        BodyTimer::allow_upload(&request);
        let progress = state.resumable.append(&actor.account, *id, part, &mut body).await?;
        let mut response = HttpResponse::NoContent();
        show(&mut response, &progress);
        Ok(response.finish())
    };
    answer(appended.await, body).await
}

/// Ends an upload and deletes its bytes. A file that it has become stays.
#[utoipa::path(delete, path = "/api/uploads/{id}", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 204, description = "Ended"),
        (status = 404, description = "No such upload of this account")))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    id: web::Path<Uuid>,
) -> HttpResponse {
    if draft::is_spoken(&request) {
        return draft::remove(state, actor, *id).await;
    }
    let removed = async {
        check_version(&request)?;
        state.resumable.remove(&actor.account, *id).await?;
        Ok(HttpResponse::NoContent().finish())
    };
    tus(removed.await.unwrap_or_else(|error: ApiError| error.error_response()))
}

/// Answers a request with a body, of which not all may have been read.
async fn answer(result: Result<HttpResponse, ApiError>, body: web::Payload) -> HttpResponse {
    let response = result.unwrap_or_else(|error| error.error_response());
    let is_bare = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::CREATED);
    tus(if is_bare { response } else { drain_refused::respond(response, body).await })
}

/// Adds what every response of tus has.
fn tus(mut response: HttpResponse) -> HttpResponse {
    for name in ["tus-resumable", "tus-version"] {
        let name = actix_web::http::header::HeaderName::from_static(name);
        response.headers_mut().insert(name, actix_web::http::header::HeaderValue::from_static(VERSION));
    }
    response
}

fn show(response: &mut HttpResponseBuilder, progress: &Progress) {
    response.insert_header(("Upload-Offset", progress.offset.to_string()));
    response.insert_header((CACHE_CONTROL, "no-store"));
    if let Some(duplicate) = progress.duplicate {
        let known = match duplicate {
            Duplicate::File => "file",
            Duplicate::Content => "content",
        };
        response.insert_header((DUPLICATE, known));
    }
    match progress.file_id {
        Some(file_id) => drop(response.insert_header((CONTENT_LOCATION, format!("/api/files/{file_id}")))),
        None => expire(response, progress.expires_at),
    }
}

fn expire(response: &mut HttpResponseBuilder, at: std::time::SystemTime) {
    response.insert_header(("Upload-Expires", fmt_http_date(at)));
}

fn check_version(request: &HttpRequest) -> Result<(), ApiError> {
    match text(request.headers(), RESUMABLE) {
        Some(VERSION) => Ok(()),
        _ => Err(ApiError::new(PRECONDITION, "this is not a request by tus 1.0.0")
            .hint(format!("Send the header Tus-Resumable: {VERSION}."))),
    }
}

fn part(request: &HttpRequest, offset: u64) -> Result<Part, ApiError> {
    let checksum = text(request.headers(), "Upload-Checksum").map(checksum).transpose()?;
    let length = number(request.headers(), CONTENT_LENGTH.as_str())?;
    // At the creation it is that of the upload, too, which is known by then.
    let total = number(request.headers(), "Upload-Length")?;
    Ok(Part { offset, length, total, is_last: false, checksum, address: client_address(request) })
}

/// `None` for an upload whose size is told later.
fn announced_size(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    match (number(headers, "Upload-Length")?, text(headers, DEFER_LENGTH)) {
        (None, Some("1")) => Ok(None),
        (None, None) => Err(ApiError::bad_argument("the header Upload-Length is missing")
            .hint("Say the size of the file in bytes; or Upload-Defer-Length: 1, and the size later.")),
        (size, None) => Ok(size),
        (_, Some(_)) => {
            Err(ApiError::bad_argument("Upload-Defer-Length goes without Upload-Length, and is 1"))
        }
    }
}

/// The uploads of `final;URL URL`.
fn part_ids(text: &str) -> Result<Vec<Uuid>, ApiError> {
    let urls = text.strip_prefix("final;").unwrap_or_default().split_ascii_whitespace();
    let ids = urls.map(|url| url.rsplit('/').next().and_then(|id| id.parse().ok()));
    ids.collect::<Option<Vec<_>>>().ok_or_else(|| {
        ApiError::bad_argument("Upload-Concat cannot be read")
            .hint("It is partial, or final; and the URLs of the parts with blanks between.")
    })
}

/// `sha256 BASE64`.
fn checksum(text: &str) -> Result<Checksum, ApiError> {
    let parsed = text.split_once(' ').and_then(|(algorithm, digest)| {
        Checksum::new(algorithm, BASE64_STANDARD.decode(digest.trim()).ok()?)
    });
    parsed.ok_or_else(|| {
        ApiError::bad_argument("Upload-Checksum cannot be read")
            .hint(format!("It is one of {ALGORITHMS}, a space, and the digest in base64."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_name_an_algorithm_and_a_digest() {
        for good in ["sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha256 YQ==", "md5 YQ=="] {
            assert!(checksum(good).is_ok(), "{good}");
        }
        for bad in ["", "sha1", "crc32 YQ==", "sha1 %"] {
            assert!(checksum(bad).is_err(), "{bad}");
        }
    }
}
