//! The console: its files, and its page for the addresses that it makes up itself.

use std::borrow::Cow;
use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use chrono::DateTime;

use crate::files::range::{self, Conditions, Decision, Object};
use crate::http::error::not_found;
use crate::infra::web_assets::{self, Asset};

/// Only scripts, styles and calls of this origin: a script in the name of a file or device is not run. The controls of
/// the player have their style sheets in their text; those are let in by their hashes, which the console's build writes.
static SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hashes = web_assets::file(STYLE_HASHES).map(|asset| asset.file.data).unwrap_or_default();
    let styles: String = String::from_utf8_lossy(&hashes)
        .lines()
        .filter(|line| line.starts_with("sha256-"))
        .map(|hash| format!(" '{hash}'"))
        .collect();
    let policy = format!(
        "default-src 'self'; style-src 'self'{styles}; img-src 'self' blob:; media-src 'self' blob:; \
         worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'self'"))
});

/// File with a hash a line, in the form in which a content policy has it.
const STYLE_HASHES: &str = "style-hashes.txt";

/// First segments of paths that are no pages. An unknown URL below them is a 404, also for a browser.
const NO_PAGES: [&str; 6] = ["api", "v1", "v2", "health", "metrics", "openapi.json"];

/// Serves every URL that no route has: a file of the console, its page for a browser, or 404.
pub(crate) async fn serve(request: HttpRequest) -> HttpResponse {
    let path = request.path().trim_start_matches('/');
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let found = if readable { web_assets::file(path) } else { None };
    match found.or_else(|| (readable && wants_page(&request, path)).then(web_assets::page).flatten()) {
        Some(asset) => respond(&request, asset),
        None => not_found(request).await,
    }
}

/// The page of the console, for an address that is a route.
pub(crate) async fn page(request: &HttpRequest) -> HttpResponse {
    match web_assets::page() {
        Some(asset) => respond(request, asset),
        None => not_found(request.clone()).await,
    }
}

/// A browser that opens a page asks for HTML; a program or an `<img>` does not, and gets 404.
fn wants_page(request: &HttpRequest, path: &str) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = path.split('/').next().unwrap_or_default();
    accept.contains("text/html") && !NO_PAGES.contains(&first)
}

fn respond(request: &HttpRequest, Asset { path, file }: Asset) -> HttpResponse {
    let etag = hex::encode(&file.metadata.sha256_hash()[..16]);
    // Vite puts a hash of the content into every name below assets/.
    let caching =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let object = Object { size: file.data.len() as u64, etag: &etag, modified: DateTime::UNIX_EPOCH };
    let if_none_match = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let decision = range::decide(object, Conditions { if_none_match, ..Conditions::default() });
    let mut response = match decision {
        Decision::NotModified => HttpResponse::NotModified(),
        _ => HttpResponse::Ok(),
    };
    response.insert_header((ETAG, format!("\"{etag}\""))).insert_header((CACHE_CONTROL, caching));
    if decision == Decision::NotModified {
        return response.finish();
    }
    let content_type = mime_guess::from_path(&*path).first_or_octet_stream();
    let text = content_type.type_() == "text";
    response
        .insert_header((CONTENT_TYPE, format!("{content_type}{}", if text { "; charset=utf-8" } else { "" })))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CONTENT_SECURITY_POLICY, SECURITY_POLICY.clone()))
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
    async fn an_unchanged_page_is_not_sent_again() {
        let first = get("/", "text/html").await;
        let header = |name| first.headers().get(name).unwrap().clone();
        assert_eq!(header(CACHE_CONTROL), "no-cache");
        assert_eq!(header(CONTENT_TYPE), "text/html; charset=utf-8");
        let policy = header(CONTENT_SECURITY_POLICY);
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("data:"), "{policy}");
        let again = TestRequest::get().uri("/").insert_header((IF_NONE_MATCH, header(ETAG)));
        assert_eq!(serve(again.to_http_request()).await.status(), StatusCode::NOT_MODIFIED);
    }
}
