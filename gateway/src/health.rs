//! Health: alive, and ready to serve.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use nebula_api::health::{Check, Health};
use tokio::sync::Mutex;

use crate::{ApiError, AppState, database};

/// Version of the gateway.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long an answer of `/health/ready` is used again: the check writes to the storage, and anyone may ask.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer of `/health/ready`; whoever asks meanwhile waits for the same one.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Instant, Health)>>);

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "health",
    responses((status = 200, description = "Alive", body = Health)))]
pub async fn live() -> web::Json<Health> {
    web::Json(Health { status: "ok".into(), version: VERSION.into(), checks: Vec::new() })
}

/// Database, storage and authority work.
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, description = "Ready", body = Health), (status = 503, description = "A part fails", body = Health)))]
pub async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let mut last = state.readiness.0.lock().await;
    let health = match &*last {
        Some((at, health)) if at.elapsed() < FRESH => health.clone(),
        _ => {
            let health = look(&state).await;
            *last = Some((Instant::now(), health.clone()));
            health
        }
    };
    match health.status.as_str() {
        "ok" => HttpResponse::Ok().json(health),
        _ => HttpResponse::ServiceUnavailable().json(health),
    }
}

async fn look(state: &AppState) -> Health {
    let (database, storage) = tokio::join!(database(state), state.store.check());
    let found = |name: &str, outcome: Result<String, String>| Check {
        name: name.to_owned(),
        ok: outcome.is_ok(),
        detail: outcome.unwrap_or_else(|problem| problem),
    };
    let checks = vec![
        found("database", database.map(|()| "ok".into()).map_err(|error| error.failure().detail)),
        found(
            "storage",
            storage.map(|()| "ok".into()).map_err(|error| ApiError::from(error).failure().detail),
        ),
        found("authority", state.keyring.shared().check()),
    ];
    let status = if checks.iter().all(|check| check.ok) { "ok" } else { "failed" };
    Health { status: status.into(), version: VERSION.into(), checks }
}

async fn database(state: &AppState) -> Result<(), ApiError> {
    database::check(&state.database.client().await?).await
}
