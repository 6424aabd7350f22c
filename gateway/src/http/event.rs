//! `GET /api/events`, the record of events, and `GET /api/stream`, live ones as server-sent events.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use futures::stream;
use nebula_api::Envelope;
use nebula_api::event::{Change, Event};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::event as database;
use crate::domain::live_events::PING_FRAME;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::state::AppState;

/// Changes in the caller's projects as they happen: `event: change` with a change as JSON, `event: reset`
/// when the client has to ask for everything again.
#[utoipa::path(get, path = "/api/stream", tag = "events",
    responses((status = 200, description = "Server-sent events", body = Change,
        content_type = "text/event-stream")))]
pub(crate) async fn watch(state: web::Data<AppState>, actor: Actor) -> Result<HttpResponse, ApiError> {
    let watcher = state.events.subscribe(actor.account).await?;
    let frames = stream::unfold((watcher, true), |(mut watcher, first)| async move {
        let frame = if first { PING_FRAME } else { watcher.next().await? };
        Some((Ok::<_, actix_web::Error>(frame), (watcher, false)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(frames))
}

/// Query of `GET /api/events`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only this project; without it, every project the caller sees.
    project_id: Option<Uuid>,
    /// Only events before this one, for paging.
    before: Option<i64>,
    /// How many at most: 1 to 1000, 100 without it.
    max: Option<i32>,
}

/// Events in the projects the caller sees, newest first.
#[utoipa::path(get, path = "/api/events", tag = "events", params(ListQuery),
    responses((status = 200, description = "Events", body = Envelope<Vec<Event>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Envelope<Vec<Event>>>, ApiError> {
    let client = state.database.client().await?;
    let max = query.max.unwrap_or(100);
    let events = database::list(&client, &actor.account, query.project_id, query.before, max).await?;
    Ok(web::Json(Envelope::new(events)))
}
