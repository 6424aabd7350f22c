//! The form in which answers that lie in memory are sent: with a tag by which a client asks whether they have changed,
//! and compressed where the client takes that. Streams and media pass as they are.

use std::io::{self, Write};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, Encoding, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::files::range::{self, Conditions, Decision, Object};

/// Below it the headers are most of the answer.
const LEAST_COMPRESSED: usize = 1024;
/// Above it, compressing would hold up the other requests of the thread.
const MOST_INLINE: usize = 64 * 1024;
/// Lists change with each request: higher qualities cost several times the time for a tenth of the bytes.
const BROTLI_QUALITY: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Brotli,
    Gzip,
}

/// Middleware: answers that are read get a tag, or 304 if the client has them, and are compressed. Answers of changes
/// may hold secrets, so no cache keeps them.
///
/// A compressed length tells an attacker who can have text of his own put beside a secret what the secret is. So answers
/// that say `no-store`, as all with secrets do, are left as they are.
pub(crate) async fn represent(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.call(request).await?.map_into_boxed_body();
    let headers = response.headers_mut();
    if !reads {
        if is_json(headers) && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        return Ok(response);
    }
    let whole = is_text(headers) && !headers.contains_key(CONTENT_ENCODING) && !is_secret(headers);
    let in_memory = matches!(response.response().body().size(), BodySize::Sized(_));
    if response.status() != StatusCode::OK || !whole || !in_memory {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let response = match body.try_into_bytes() {
        Ok(body) => answer(&request, head, body).await?,
        Err(body) => head.set_body(body),
    };
    Ok(ServiceResponse::new(request, response))
}

async fn answer(
    request: &HttpRequest,
    mut head: HttpResponse<()>,
    body: Bytes,
) -> Result<HttpResponse, Error> {
    let coding = coding(request).filter(|_| body.len() >= LEAST_COMPRESSED);
    let headers = head.headers_mut();
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    let tag = match headers.get(ETAG).and_then(|tag| tag.to_str().ok()) {
        Some(tag) => tag.trim_start_matches("W/").trim_matches('"').to_owned(),
        None => hex::encode(&Sha256::digest(&body)[..16]),
    };
    // A strong tag would name the bytes as they are sent, which differ by the coding.
    headers.insert(ETAG, HeaderValue::try_from(format!("W/\"{tag}\""))?);
    if is_known(request, &tag) {
        headers.remove(CONTENT_TYPE);
        *head.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(head.set_body(BoxBody::new(())));
    }
    let Some(coding) = coding else { return Ok(head.set_body(BoxBody::new(body))) };
    headers.insert(
        CONTENT_ENCODING,
        HeaderValue::from_static(match coding {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }),
    );
    let compressed = if body.len() <= MOST_INLINE {
        compress(coding, &body)
    } else {
        web::block(move || compress(coding, &body)).await?
    };
    let compressed = compressed.map_err(|error| ApiError::internal(&error))?;
    Ok(head.set_body(BoxBody::new(compressed)))
}

fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default()
}

fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers) == "application/json"
}

/// Answers of the API and files of the console. Playlists and indexes of pictures are not among them: they hold tokens.
fn is_text(headers: &HeaderMap) -> bool {
    matches!(
        content_type(headers),
        "application/json"
            | "application/javascript"
            | "application/manifest+json"
            | "image/svg+xml"
            | "text/css"
            | "text/html"
            | "text/javascript"
    )
}

fn is_secret(headers: &HeaderMap) -> bool {
    let said = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    said.is_some_and(|said| said.contains("no-store"))
}

fn is_known(request: &HttpRequest, tag: &str) -> bool {
    let if_none_match = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let object = Object { size: 0, etag: tag, modified: DateTime::UNIX_EPOCH };
    let conditions = Conditions { if_none_match, ..Conditions::default() };
    range::decide(object, conditions) == Decision::NotModified
}

/// The coding that the client takes and likes best.
fn coding(request: &HttpRequest) -> Option<Coding> {
    let supported = [Encoding::brotli(), Encoding::gzip(), Encoding::identity()];
    // A client that says nothing would have to take anything, but many of them do not.
    let accepted = request.get_header::<AcceptEncoding>().filter(|accepted| !accepted.0.is_empty())?;
    match accepted.negotiate(supported.iter())? {
        chosen if chosen == Encoding::brotli() => Some(Coding::Brotli),
        chosen if chosen == Encoding::gzip() => Some(Coding::Gzip),
        _ => None,
    }
}

fn compress(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(body.len() / 4);
    match coding {
        Coding::Brotli => {
            let mut writer = brotli::CompressorWriter::new(room, 4096, BROTLI_QUALITY, 20);
            writer.write_all(body)?;
            writer.flush()?;
            Ok(writer.into_inner())
        }
        Coding::Gzip => {
            let mut writer = GzEncoder::new(room, Compression::default());
            writer.write_all(body)?;
            writer.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use actix_web::http::header::ACCEPT_ENCODING;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, Responder};

    use super::*;

    const LONG: usize = 200_000;

    fn text() -> String {
        "[\"0198c0de-0000-7000-8000-000000000000\"]".repeat(LONG / 40)
    }

    async fn list() -> impl Responder {
        HttpResponse::Ok().content_type("application/json").body(text())
    }

    async fn secret() -> impl Responder {
        HttpResponse::Ok()
            .content_type("application/json")
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(text())
    }

    async fn film() -> impl Responder {
        HttpResponse::Ok().content_type("video/mp4").body(text())
    }

    async fn asked(method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let app = App::new().wrap(from_fn(represent));
        let app = app.route("/list", web::get().to(list)).route("/list", web::head().to(list));
        let app = app.route("/list", web::post().to(list)).route("/secret", web::get().to(secret));
        let app = init_service(app.route("/film", web::get().to(film))).await;
        let mut request = TestRequest::default().method(method).uri(path);
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let response = call_service(&app, request.to_request()).await;
        (response.status(), response.headers().clone(), read_body(response).await)
    }

    fn header(headers: &HeaderMap, name: impl actix_web::http::header::AsHeaderName) -> Option<&str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[actix_web::test]
    async fn a_list_is_compressed_as_the_client_takes_it() {
        let accept = ACCEPT_ENCODING.as_str();
        let (_, headers, body) = asked(Method::GET, "/list", &[(accept, "gzip, deflate, br")]).await;
        assert_eq!(header(&headers, CONTENT_ENCODING), Some("br"));
        let mut read = String::new();
        brotli::Decompressor::new(&body[..], 4096).read_to_string(&mut read).unwrap();
        assert!(read == text() && body.len() * 20 < LONG);
        let (_, headers, body) = asked(Method::GET, "/list", &[(accept, "gzip")]).await;
        assert_eq!(header(&headers, CONTENT_ENCODING), Some("gzip"));
        assert_eq!(header(&headers, VARY), Some("accept-encoding"));
        let mut read = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text());
        for said in [&[][..], &[(accept, "identity")], &[(accept, "br;q=0, gzip;q=0")]] {
            let (_, headers, body) = asked(Method::GET, "/list", said).await;
            assert!(header(&headers, CONTENT_ENCODING).is_none() && body == text(), "{said:?}");
        }
    }

    #[actix_web::test]
    async fn a_list_that_has_not_changed_is_not_sent_again() {
        let (_, headers, _) = asked(Method::GET, "/list", &[("accept-encoding", "br")]).await;
        let tag = header(&headers, ETAG).unwrap().to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        for method in [Method::GET, Method::HEAD] {
            let (status, headers, body) = asked(method, "/list", &[("if-none-match", &tag)]).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
            assert_eq!(header(&headers, ETAG), Some(tag.as_str()));
            assert_eq!(header(&headers, CACHE_CONTROL), Some("private, no-cache"));
        }
        let (status, ..) = asked(Method::GET, "/list", &[("if-none-match", "W/\"0\"")]).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[actix_web::test]
    async fn secrets_and_media_are_sent_as_they_are_and_changes_are_not_kept() {
        for path in ["/secret", "/film"] {
            let (_, headers, body) = asked(Method::GET, path, &[("accept-encoding", "br")]).await;
            assert!(
                header(&headers, CONTENT_ENCODING).is_none() && header(&headers, ETAG).is_none(),
                "{path}"
            );
            assert_eq!(body, text());
        }
        let (_, headers, body) = asked(Method::POST, "/list", &[("accept-encoding", "br")]).await;
        assert_eq!(header(&headers, CACHE_CONTROL), Some("no-store"));
        assert_eq!(body, text());
    }
}
