//! Logs: one line per request, and a number on every answer that finds it again.

use std::io::IsTerminal;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use clap::ValueEnum;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use crate::AppState;

/// The number of a request.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// Sends logs to standard error. `RUST_LOG` chooses what is shown, `info` without it.
pub fn init(format: Format) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    // At debug this one prints the values of every statement, hashes of passwords and tokens among them.
    let filter = filter.add_directive("tokio_postgres::query=info".parse().expect("it is a directive"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A test may have set a subscriber of its own; that one stays.
    let set = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(set);
}

/// Middleware: gives the request its number, answers with it, logs and counts the outcome. The path is logged without
/// its query, which may hold a signed link.
///
/// # Errors
/// Those of the handler, unchanged.
pub async fn request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.path().to_owned();
    let state = request.app_data::<web::Data<AppState>>().cloned();

    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = next.call(request).instrument(span).await?;
    response.headers_mut().insert(REQUEST_ID.clone(), id.clone());

    let (took, status) = (begun.elapsed(), response.status().as_u16());
    if let Some(state) = state {
        state.metrics.request(response.request().match_pattern().as_deref(), &method, status, took);
    }
    let milliseconds = took.as_secs_f64() * 1000.0;
    let id = id.to_str().unwrap_or_default();
    // Probes come every few seconds for ever; they are counted, but clutter a log.
    if path.starts_with("/health/") || path == "/metrics" {
        tracing::debug!(target: "nebula_gateway::request", %method, path, status, ms = format_args!("{milliseconds:.1}"), id);
    } else {
        tracing::info!(target: "nebula_gateway::request", %method, path, status, ms = format_args!("{milliseconds:.1}"), id);
    }
    Ok(response)
}

/// The number a proxy gave the request, if it is fit to be logged, or a new one.
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
