//! `/api/events`, the record of events, and `GET /api/stream`, live changes as server-sent events.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, stream};
use nebula_api::Page;
use nebula_api::event::{Change, Event};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::event::{self as database, Filter, MAX_EVENTS, Part};
use crate::database::{Account, Database};
use crate::domain::event_follower::Follower;
use crate::domain::live_events::PING_FRAME;
use crate::domain::rate_limit::Limit;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Changes in the caller's projects as they happen: `event: change` with a change as JSON, `event: reset`
/// when the client has to ask for everything again.
#[utoipa::path(get, path = "/api/stream", tag = "events",
    responses((status = 200, description = "Server-sent events", body = Change,
        content_type = "text/event-stream")))]
pub(crate) async fn watch(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    state.limits.take_both(Limit::Streams, actor.account.id, client_address(&request)).await?;
    let watcher = state.events.subscribe(actor.account).await?;
    let frames = stream::unfold((watcher, true), |(mut watcher, first)| async move {
        let frame = if first { PING_FRAME } else { watcher.next().await? };
        Some((frame, (watcher, false)))
    });
    Ok(server_sent(frames))
}

fn server_sent(frames: impl Stream<Item = Bytes> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(frames.map(Ok::<_, actix_web::Error>))
}

/// The events that are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct FilterQuery {
    /// Of this project; without it, of every project the caller sees, and for operators of none, too.
    project_id: Option<Uuid>,
    /// To this kind of object: `device`, `file`, `account`, …
    subject: Option<String>,
    /// To the object with this identifier.
    subject_id: Option<String>,
    /// By this account, part of the system, or role of the database.
    actor: Option<String>,
    /// This action: `register`, `upload`, `login-failed`, …
    action: Option<String>,
    /// At this time or later.
    from: Option<DateTime<Utc>>,
    /// Before this time.
    to: Option<DateTime<Utc>>,
}

impl FilterQuery {
    fn filter(self) -> Filter {
        let Self { project_id, subject, subject_id, actor, action, from, to } = self;
        Filter { project_id, subject, subject_id, actor, action, from, to }
    }
}

/// The page that is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct PageQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Only events before the one with this number. For existing clients; `cursor` does the same.
    before: Option<i64>,
    /// How many at most; 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Events in the projects the caller sees, newest first. Operators see all.
#[utoipa::path(get, path = "/api/events", tag = "events", params(FilterQuery, PageQuery),
    responses((status = 200, description = "Events", body = Page<Event>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<FilterQuery>,
    page: web::Query<PageQuery>,
) -> Result<web::Json<Page<Event>>, ApiError> {
    let client = state.database.client().await?;
    let max = page.max.unwrap_or(100).clamp(1, MAX_EVENTS);
    let before = page.cursor.as_deref().map(event_of).transpose()?.or(page.before);
    let filter = filter.into_inner().filter();
    let data = database::list(&client, &actor.account, &filter, Part::Newest(before), max).await?;
    let is_full = i32::try_from(data.len()).is_ok_and(|count| count == max);
    let next = data.last().filter(|_| is_full).map(|event| event.event_id.to_string());
    Ok(web::Json(Page::new(data, next)))
}

/// The event that a cursor names.
fn event_of(cursor: &str) -> Result<i64, ApiError> {
    cursor.parse().map_err(|_| {
        ApiError::bad_argument("this is no cursor of a list of events")
            .hint("Give `next` of the page before, or none.")
    })
}

/// Where to begin to follow.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FollowQuery {
    /// Begins with the events after the one with this number; without it, with those that come. The header
    /// `Last-Event-ID` of a client that comes back has precedence.
    after: Option<i64>,
}

/// Events in the projects the caller sees as they are recorded, each once: `event: event` with the event as JSON
/// and its number as the identifier. The answer ends with the caller's access token at the latest; a client that
/// comes back with `Last-Event-ID` misses nothing.
#[utoipa::path(get, path = "/api/events/follow", tag = "events", params(FilterQuery, FollowQuery),
    responses((status = 200, description = "Server-sent events", body = Event, content_type = "text/event-stream")))]
pub(crate) async fn follow(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    filter: web::Query<FilterQuery>,
    query: web::Query<FollowQuery>,
) -> Result<HttpResponse, ApiError> {
    let last = request.headers().get("Last-Event-ID").and_then(|id| id.to_str().ok()?.parse().ok());
    let watcher = state.events.subscribe(actor.account.clone()).await?;
    let filter = filter.into_inner().filter();
    let after = last.or(query.after);
    let follower = Follower::start(watcher, state.database.clone(), actor.account, filter, after).await?;
    let frames = stream::unfold((follower, true), |(mut follower, first)| async move {
        let frame = if first { PING_FRAME } else { follower.next().await? };
        Some((frame, (follower, false)))
    });
    Ok(server_sent(frames))
}

/// All events that the caller sees, oldest first, one JSON object a line.
#[utoipa::path(get, path = "/api/events/export", tag = "events", params(FilterQuery),
    responses((status = 200, description = "Events, one a line", body = Event,
        content_type = "application/x-ndjson")))]
pub(crate) async fn export(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<FilterQuery>,
) -> Result<HttpResponse, ApiError> {
    let filter = filter.into_inner().filter();
    // The first page is read before the answer begins, so that a refusal has a status of its own.
    let first = export_page(&state.database, &actor.account, &filter, 0).await?;
    let rest = (state.database.clone(), actor.account, filter, first.1);
    let rest = stream::try_unfold(rest, |(database, account, filter, after)| async move {
        let Some(after) = after else { return Ok(None) };
        let (lines, next) = export_page(&database, &account, &filter, after).await?;
        Ok::<_, ApiError>(Some((lines, (database, account, filter, next))))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"events.jsonl\""))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(stream::once(async move { Ok(first.0) }).chain(rest)))
}

/// A page of an export, and the event after which the next one begins.
async fn export_page(
    database: &Database,
    account: &Account,
    filter: &Filter,
    after: i64,
) -> Result<(Bytes, Option<i64>), ApiError> {
    let client = database.client().await?;
    let events = database::list(&client, account, filter, Part::After(after), MAX_EVENTS).await?;
    let is_full = i32::try_from(events.len()).is_ok_and(|count| count == MAX_EVENTS);
    let mut lines = Vec::new();
    for event in &events {
        serde_json::to_writer(&mut lines, event).map_err(|error| ApiError::internal(&error))?;
        lines.push(b'\n');
    }
    Ok((lines.into(), events.last().filter(|_| is_full).map(|event| event.event_id)))
}
