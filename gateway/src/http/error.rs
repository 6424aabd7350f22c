//! Failures as HTTP responses, also of requests that reach no handler: malformed bodies, paths and queries,
//! unknown URLs and methods.

use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};

use crate::error::{ApiError, BAD_ARGUMENT, MEDIA_TYPE, METHOD, NOT_FOUND, RATE_LIMITED, TOO_LARGE};
use crate::http::object::{Fault, missing_field};
use crate::http::parameter;

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.meaning().status).expect("every meaning has an HTTP status")
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self.meaning().status {
            401 => drop(response.insert_header((WWW_AUTHENTICATE, r#"Bearer realm="nebula""#))),
            503 => drop(response.insert_header((RETRY_AFTER, "1"))),
            _ => {}
        }
        if self.meaning() == RATE_LIMITED {
            response.insert_header((RETRY_AFTER, self.retry_after_seconds().unwrap_or(60).to_string()));
        }
        if let Some(methods) = self.allowed_methods() {
            response.insert_header((ALLOW, methods));
        }
        response.json(self.failure())
    }
}

/// Largest JSON body of a route, in bytes; but for batches. The longest that a correct client sends, a
/// registration, has about 2 kB.
const JSON_LIMIT: usize = 64 * 1024;

/// JSON bodies: at most 64 kB, and failures in the shape of every other one.
pub(crate) fn json_config() -> web::JsonConfig {
    web::JsonConfig::default().limit(JSON_LIMIT).error_handler(|error, _| json_error(&error, "64 kB").into())
}

/// Path parameters: failures in the shape of every other one.
pub(crate) fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, request| path_error(&error, request).into())
}

/// Query strings: failures in the shape of every other one.
pub(crate) fn query_config() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| query_error(&error).into())
}

/// The response to a URL that no route has.
pub(crate) async fn not_found(request: HttpRequest) -> HttpResponse {
    ApiError::new(NOT_FOUND, format!("there is nothing at {}", request.path()))
        .hint("GET /openapi.json lists every route.")
        .error_response()
}

/// The failure of a method that a URL does not have; `allowed` is the value of the header `Allow`.
pub(crate) fn method_not_allowed(request: &HttpRequest, allowed: &str) -> ApiError {
    ApiError::new(METHOD, format!("{} does not take {}", request.path(), request.method()))
        .hint(format!("It takes {allowed}."))
        .allow(allowed)
}

/// `limit` is that of the route, for people.
pub(super) fn json_error(error: &JsonPayloadError, limit: &str) -> ApiError {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            ApiError::new(TOO_LARGE, format!("the body is larger than {limit}"))
                .hint(format!("JSON bodies of this route are limited to {limit}."))
        }
        JsonPayloadError::ContentType => ApiError::new(MEDIA_TYPE, "the body is not declared as JSON")
            .hint("Send the header Content-Type: application/json."),
        JsonPayloadError::Deserialize(error) => {
            let Fault { field, words } = Fault::of(&error.to_string());
            let refusal = ApiError::bad_argument(format!("the body is not what this route takes: {words}"))
                .hint("GET /openapi.json describes it.");
            match field {
                Some(field) => refusal.field(field),
                None => refusal,
            }
        }
        _ => ApiError::new(BAD_ARGUMENT, "the body did not arrive whole").hint("Send the request again."),
    }
}

fn path_error(error: &PathError, request: &HttpRequest) -> ApiError {
    if let Some(fault) = parameter::fault_in_path(request) {
        return fault;
    }
    ApiError::new(BAD_ARGUMENT, format!("the path {} cannot be read: {error}", request.path()))
        .hint("Identifiers are UUIDs, those of jobs are numbers.")
}

fn query_error(error: &QueryPayloadError) -> ApiError {
    let words = error.to_string();
    let refusal = ApiError::bad_argument(format!("the query string cannot be read: {words}"))
        .hint("GET /openapi.json describes it.");
    match missing_field(&words) {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}
