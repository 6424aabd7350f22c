//! The console: files embedded in the binary, so that there is nothing to install beside it.

use std::borrow::Cow;

use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use chrono::DateTime;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::not_found;
use crate::range::{self, Answer, Conditions, Object};

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/console"]
struct Console;

/// Scripts, styles and calls from here only: nothing that a file or device name could smuggle in is run.
const POLICY: &str = "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; worker-src 'self' blob:; \
                      object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// First segments of paths that are no pages: an unknown URL there is an error, whoever asks.
const NO_PAGES: [&str; 6] = ["api", "v1", "v2", "health", "metrics", "openapi.json"];

/// Answers whatever no route has: a file of the console, its page for addresses that the console itself makes up,
/// or 404.
pub async fn serve(request: HttpRequest) -> HttpResponse {
    let path = request.path().trim_start_matches('/');
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let found = match path {
        _ if !readable => None,
        "" => page(),
        path => Console::get(path).map(|file| (Cow::from(path.to_owned()), file)),
    };
    match found.or_else(|| (readable && wants_page(&request, path)).then(page).flatten()) {
        Some((path, file)) => answer(&request, &path, file),
        None => not_found(request).await,
    }
}

fn page() -> Option<(Cow<'static, str>, EmbeddedFile)> {
    Console::get("index.html").map(|file| ("index.html".into(), file))
}

/// A browser that navigates asks for HTML; a program or an `<img>` does not and gets an honest 404.
fn wants_page(request: &HttpRequest, path: &str) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = path.split('/').next().unwrap_or_default();
    accept.contains("text/html") && !NO_PAGES.contains(&first)
}

fn answer(request: &HttpRequest, path: &str, file: EmbeddedFile) -> HttpResponse {
    let etag = hex::encode(&file.metadata.sha256_hash()[..16]);
    // Vite puts a hash of the content into every name below assets/.
    let caching =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let object = Object { size: file.data.len() as u64, etag: &etag, modified: DateTime::UNIX_EPOCH };
    let if_none_match = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = range::decide(object, Conditions { if_none_match, ..Conditions::default() });
    let mut response = match known {
        Answer::NotModified => HttpResponse::NotModified(),
        _ => HttpResponse::Ok(),
    };
    response.insert_header((ETAG, format!("\"{etag}\""))).insert_header((CACHE_CONTROL, caching));
    if known == Answer::NotModified {
        return response.finish();
    }
    let content_type = mime_guess::from_path(path).first_or_octet_stream();
    let text = content_type.type_() == "text";
    response
        .insert_header((CONTENT_TYPE, format!("{content_type}{}", if text { "; charset=utf-8" } else { "" })))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header(("Cross-Origin-Opener-Policy", "same-origin"))
        .insert_header(("Cross-Origin-Resource-Policy", "same-origin"));
    response.body(match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    async fn get(path: &str, accept: &str) -> HttpResponse {
        serve(TestRequest::get().uri(path).insert_header((ACCEPT, accept)).to_http_request()).await
    }

    #[actix_web::test]
    async fn pages_are_for_browsers_and_never_below_the_api() {
        for path in ["/", "/index.html"] {
            assert_eq!(get(path, "*/*").await.status(), StatusCode::OK, "{path}");
        }
        assert_eq!(get("/files/1", "text/html,*/*;q=0.8").await.status(), StatusCode::OK);
        assert_eq!(get("/files/1", "*/*").await.status(), StatusCode::NOT_FOUND);
        for path in ["/api", "/api/nothing", "/v1/x", "/health/x", "/openapi.json"] {
            assert_eq!(get(path, "text/html").await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let post = TestRequest::post().uri("/").insert_header((ACCEPT, "text/html")).to_http_request();
        assert_eq!(serve(post).await.status(), StatusCode::NOT_FOUND);
    }

    #[actix_web::test]
    async fn a_page_is_checked_for_freshness_and_not_sent_twice() {
        let first = get("/", "text/html").await;
        let header = |name| first.headers().get(name).unwrap().clone();
        assert_eq!(header(CACHE_CONTROL), "no-cache");
        assert_eq!(header(CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header(CONTENT_SECURITY_POLICY), POLICY);
        let again = TestRequest::get().uri("/").insert_header((IF_NONE_MATCH, header(ETAG)));
        assert_eq!(serve(again.to_http_request()).await.status(), StatusCode::NOT_MODIFIED);
    }
}
