//! One log line per request, and an identifier on every response that finds the line again.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use tracing::Instrument;
use tracing::field::display;
use uuid::Uuid;

use crate::database::origin::Origin;
use crate::http::origin::client_address;
use crate::http::refusal;
use crate::state::AppState;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Middleware: gives the request its identifier, answers with it, logs and counts the outcome. The path is
/// logged without its query and without the token of a share, which open files.
pub(crate) async fn log_request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = shown_path(request.path()).to_owned();
    let state = request.app_data::<web::Data<AppState>>().cloned();
    let address = client_address(request.request());
    let client = address.map(display);
    let origin = Origin::new(id.to_str().unwrap_or_default(), address);

    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = origin.run(next.call(request).instrument(span)).await?;
    response.headers_mut().insert(REQUEST_ID.clone(), id.clone());

    let (took, status) = (started.elapsed(), response.status().as_u16());
    if let Some(state) = state {
        let pattern = response.request().match_pattern();
        refusal::record(&state, &response);
        state.metrics.request(pattern.as_deref(), method.as_str(), status, took);
    }
    let ms = format_args!("{:.1}", took.as_secs_f64() * 1000.0);
    let id = id.to_str().unwrap_or_default();
    // Probes come every few seconds for ever: they are counted, but would clutter a log.
    if path.starts_with("/health/") || path == "/metrics" {
        tracing::debug!(target: "nebula_gateway::request", %method, path, status, ms, client, id);
    } else {
        tracing::info!(target: "nebula_gateway::request", %method, path, status, ms, client, id);
    }
    Ok(response)
}

/// The path without what opens a file.
fn shown_path(path: &str) -> &str {
    if path.starts_with("/s/") { "/s/…" } else { path }
}

/// The identifier that a proxy set, if it is fit to be logged, or a new one.
fn request_id(request: &ServiceRequest) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (8..=64).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    });
    match given {
        Some(value) => value.clone(),
        None => HeaderValue::from_str(&Uuid::now_v7().to_string())
            .expect("hex digits and dashes are fit for a header"),
    }
}
