//! Requests that an account was not allowed: each is an event, which names the account and what it tried.

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{HttpMessage, web};

use crate::database::{Account, event};
use crate::error::ApiError;
use crate::state::AppState;

/// Records the refusal that this response is, after the response: a failure to record changes nothing.
pub(crate) fn record(state: &web::Data<AppState>, response: &ServiceResponse<impl MessageBody>) {
    if response.status() != StatusCode::FORBIDDEN {
        return;
    }
    let request = response.request();
    // Left there by the extractor of signed-in accounts.
    let Some(account) = request.extensions().get::<Account>().cloned() else { return };
    let route = request.match_pattern().unwrap_or_else(|| "an unknown path".to_owned());
    let route = format!("{} {route}", request.method());
    let Some(left_out) = state.refused_requests.should_record(account.id, &route) else { return };
    let error = response.response().error().and_then(|error| error.as_error::<ApiError>());
    let reason = error.map(|error| error.failure().detail).unwrap_or_default();
    let database = state.database.clone();
    tokio::spawn(async move {
        let recorded =
            async { event::refuse(&database.client().await?, &account, &route, &reason, left_out).await };
        if let Err(error) = recorded.await {
            tracing::warn!(%error, route, reason, "a refused request could not be recorded");
        }
    });
}
