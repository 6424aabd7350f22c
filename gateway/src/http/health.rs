//! `/health`: alive, and ready to serve.

use actix_web::{HttpResponse, web};
use nebula_api::health::{Check, Health};

use crate::VERSION;
use crate::error::ApiError;
use crate::state::AppState;

/// Whether the process answers.
#[utoipa::path(get, path = "/health/live", tag = "health",
    responses((status = 200, description = "Alive", body = Health)))]
pub(crate) async fn live() -> web::Json<Health> {
    web::Json(Health { status: "ok".into(), version: VERSION.into(), checks: Vec::new() })
}

/// Whether database, storage and authority work.
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, description = "Ready", body = Health),
              (status = 503, description = "A part fails", body = Health)))]
pub(crate) async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let health = state.readiness.get_or_check(check(&state)).await;
    match health.status.as_str() {
        "ok" => HttpResponse::Ok().json(health),
        _ => HttpResponse::ServiceUnavailable().json(health),
    }
}

async fn check(state: &AppState) -> Health {
    let (database, storage) = tokio::join!(state.database.check(), state.store.check());
    let checks = vec![
        result("database", database.map(|()| "ok".into()), |error| error.failure().detail),
        result("storage", storage.map(|()| "ok".into()), |error| ApiError::from(error).failure().detail),
        result("authority", state.keyring.shared().check(), |error| error.to_string()),
    ];
    let status = if checks.iter().all(|check| check.ok) { "ok" } else { "failed" };
    Health { status: status.into(), version: VERSION.into(), checks }
}

/// Success and failure each have a sentence; `detail` makes that of an error.
fn result<E>(name: &str, outcome: Result<String, E>, detail: impl FnOnce(E) -> String) -> Check {
    Check { name: name.to_owned(), ok: outcome.is_ok(), detail: outcome.unwrap_or_else(detail) }
}
