//! Answers with secrets: JSON that no cache may keep.

use actix_web::body::BoxBody;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Responder, web};
use serde::Serialize;

/// The JSON of a secret.
#[derive(Debug)]
pub(crate) struct NoStore<T>(pub(crate) T);

impl<T: Serialize> Responder for NoStore<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut response = web::Json(self.0).respond_to(request).map_into_boxed_body();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn caches_keep_no_secret() {
        let response = NoStore(7).respond_to(&TestRequest::default().to_http_request());
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(response.headers().get("content-type").unwrap(), "application/json");
    }
}
