//! Requests that no handler saw: malformed bodies, paths and queries, unknown URLs and methods.

use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::{HttpRequest, HttpResponse, web};

use super::{ApiError, BAD_ARGUMENT, MEDIA_TYPE, METHOD, NOT_FOUND, TOO_LARGE};

/// Largest JSON body of any route, in bytes; the longest honest one is a registration of about 2 kB.
const JSON_LIMIT: usize = 64 * 1024;

/// JSON bodies: at most 64 kB, and failures in our own shape.
pub fn json_config() -> web::JsonConfig {
    web::JsonConfig::default().limit(JSON_LIMIT).error_handler(|error, _| json_error(&error).into())
}

/// Path parameters: failures in our own shape.
pub fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, request| path_error(&error, request).into())
}

/// Query strings: failures in our own shape.
pub fn query_config() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| query_error(&error).into())
}

/// The answer to a URL that no route has.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    use actix_web::ResponseError;
    ApiError::new(NOT_FOUND, format!("there is nothing at {}", request.path()))
        .hint("GET /openapi.json lists every route.")
        .error_response()
}

/// The refusal of a method that a URL does not have; `allowed` is the list for the `Allow` header.
pub fn method_not_allowed(request: &HttpRequest, allowed: &str) -> ApiError {
    ApiError::new(METHOD, format!("{} does not take {}", request.path(), request.method()))
        .hint(format!("It takes {allowed}."))
        .allow(allowed)
}

fn json_error(error: &JsonPayloadError) -> ApiError {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            ApiError::new(TOO_LARGE, "the body is larger than 64 kB")
                .hint("No honest request of this route is that long.")
        }
        JsonPayloadError::ContentType => ApiError::new(MEDIA_TYPE, "the body is not declared as JSON")
            .hint("Send the header Content-Type: application/json."),
        JsonPayloadError::Deserialize(error) => {
            ApiError::new(BAD_ARGUMENT, format!("the body is not what this route takes: {error}"))
                .hint("GET /openapi.json describes it.")
        }
        _ => ApiError::new(BAD_ARGUMENT, "the body did not arrive whole").hint("Send the request again."),
    }
}

fn path_error(error: &PathError, request: &HttpRequest) -> ApiError {
    ApiError::new(BAD_ARGUMENT, format!("the path {} cannot be read: {error}", request.path()))
        .hint("Identifiers are UUIDs, those of jobs are numbers.")
}

fn query_error(error: &QueryPayloadError) -> ApiError {
    ApiError::new(BAD_ARGUMENT, format!("the query string cannot be read: {error}"))
        .hint("GET /openapi.json describes it.")
}
