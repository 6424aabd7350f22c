//! Responses with the content of a stored object: whole, a range, or 304. The content is streamed, never in
//! memory as a whole.

use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use futures::{StreamExt, stream};
use nebula_storage::Store;

use crate::database::file::Content;
use crate::error::{ApiError, PRECONDITION, RANGE as RANGE_ERROR};
use crate::files::range::{self, Conditions, Decision, Object};

/// How a browser treats the content.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delivery {
    /// Save it instead of showing it.
    pub(crate) download: bool,
    /// The URL will never answer other bytes, so they may be cached for ever.
    pub(crate) immutable: bool,
}

/// Answers GET or HEAD. Bytes are read only as fast as the client takes them; when it goes away the reader
/// stops, and `permit` is given back. So it does when `end` resolves, after which the connection is broken off. Fails with 500 or 503 if the first bytes cannot be read. A failure
/// after that can only break the connection off.
pub(crate) async fn answer(
    request: &HttpRequest,
    store: &Store,
    content: &Content,
    delivery: Delivery,
    permit: impl Send + 'static,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    let head = request.method() == Method::HEAD;
    let object = Object { size: content.size, etag: &content.etag, modified: content.modified_at };
    let (wanted, mut response) = match range::decide(object, conditions(request, head)) {
        Decision::Whole => (0..content.size, describe(StatusCode::OK, content, delivery)),
        Decision::Part(part) => {
            // Also for a range that covers everything: a player takes 206 as the sign that it may seek.
            let mut response = describe(StatusCode::PARTIAL_CONTENT, content, delivery);
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, content.size);
            response.insert_header((CONTENT_RANGE, range));
            (part, response)
        }
        Decision::NotModified => {
            return Ok(describe(StatusCode::NOT_MODIFIED, content, delivery).finish());
        }
        Decision::PreconditionFailed => {
            return Err(ApiError::new(
                PRECONDITION,
                format!("\"{}\" is not the version you have", content.name),
            )
            .hint("Ask again without If-Match and If-Unmodified-Since."));
        }
        Decision::Unsatisfiable => return Ok(unsatisfiable(content)),
    };
    let length = wanted.end - wanted.start;
    response.insert_header((CONTENT_TYPE, content.content_type.as_str()));
    response.insert_header((CONTENT_DISPOSITION, disposition(&content.name, delivery.download)));
    if !is_media(&content.content_type) {
        // The console has the same origin: the sandbox keeps an uploaded page from acting with its rights.
        response.insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        ));
    }
    if head {
        let nothing = stream::empty::<Result<_, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(length, nothing)));
    }
    let stored = wanted.start + content.first_byte..wanted.end + content.first_byte;
    let mut bytes = store.read(&content.storage_key, stored);
    // A failure to read the first chunk can still become an error response.
    let first = bytes.next().await.transpose()?;
    let key = content.storage_key.clone();
    let bytes = stream::iter(first.map(Ok)).chain(bytes).take_until(Box::pin(end));
    let rest = bytes.inspect(move |chunk| {
        let _held = &permit;
        if let Err(error) = chunk {
            tracing::error!(key, %error, "an answer was broken off");
        }
    });
    Ok(response.body(SizedStream::new(length, rest)))
}

fn conditions(request: &HttpRequest, head: bool) -> Conditions<'_> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    Conditions {
        if_match: text(IF_MATCH),
        if_unmodified_since: text(IF_UNMODIFIED_SINCE),
        if_none_match: text(IF_NONE_MATCH),
        if_modified_since: text(IF_MODIFIED_SINCE),
        if_range: text(IF_RANGE),
        range: if head { None } else { text(RANGE) },
    }
}

/// The headers that 200, 206 and 304 share.
fn describe(status: StatusCode, content: &Content, delivery: Delivery) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    let caching =
        if delivery.immutable { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    response
        .insert_header((ETAG, format!("\"{}\"", content.etag)))
        .insert_header((LAST_MODIFIED, range::http_date(content.modified_at)))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // The URL may carry a token, which a referrer would leak.
        .insert_header((REFERRER_POLICY, "no-referrer"));
    response
}

fn unsatisfiable(content: &Content) -> HttpResponse {
    let error = ApiError::new(RANGE_ERROR, format!("\"{}\" has {} bytes", content.name, content.size))
        .hint("Ask for a range that begins before its end.");
    let mut response = error.error_response();
    let size = format!("bytes */{}", content.size).try_into().expect("digits are a header value");
    response.headers_mut().insert(CONTENT_RANGE, size);
    response
}

fn is_media(content_type: &str) -> bool {
    content_type.starts_with("video/") || content_type.starts_with("audio/")
}

/// `Content-Disposition` by RFC 6266: an ASCII name for everyone, and the real one by RFC 5987 where it
/// differs.
fn disposition(name: &str, download: bool) -> String {
    let kind = if download { "attachment" } else { "inline" };
    // A percent sign is replaced too: some browsers decode it where RFC 6266 says not to.
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%');
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    if ascii == name {
        return format!("{kind}; filename=\"{ascii}\"");
    }
    let mut encoded = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_of_any_characters_are_encoded() {
        assert_eq!(disposition("film (1).mkv", false), r#"inline; filename="film (1).mkv""#);
        assert_eq!(
            disposition("Grüße \"100%\".mkv", true),
            "attachment; filename=\"Gr__e _100__.mkv\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%22100%25%22.mkv"
        );
        assert_eq!(disposition("a\r\nb", false), "inline; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab");
    }
}
