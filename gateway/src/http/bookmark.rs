//! Where the caller stopped in films and sounds.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::bookmark::{Bookmark, NewBookmark};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::bookmark as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::state::AppState;

/// Notes where the caller is in a file. Players say it every few seconds and when they stop; near the end,
/// the file counts as finished.
#[utoipa::path(put, path = "/api/files/{id}/bookmark", tag = "files", params(("id" = Uuid, Path)),
    request_body = NewBookmark,
    responses((status = 200, description = "Noted", body = Envelope<serde_json::Value>)))]
pub(crate) async fn set(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
    bookmark: web::Json<Object<NewBookmark>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::set(&client, &actor.account, *file_id, **bookmark).await.map(Envelope::new).map(web::Json)
}

/// Forgets where the caller is in a file.
#[utoipa::path(delete, path = "/api/files/{id}/bookmark", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Forgotten", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::remove(&client, &actor.account, *file_id).await.map(Envelope::new).map(web::Json)
}

/// Query of `GET /api/bookmarks`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct BookmarkQuery {
    /// Only this project; without it, every project the caller sees.
    project_id: Option<Uuid>,
    /// How many at most: 1 to 200, 20 without it.
    #[param(minimum = 1, maximum = 200)]
    max: Option<i32>,
}

/// Files that the caller has begun and not finished, the last played first.
#[utoipa::path(get, path = "/api/bookmarks", tag = "files", params(BookmarkQuery),
    responses((status = 200, description = "Bookmarks", body = Envelope<Vec<Bookmark>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<BookmarkQuery>,
) -> Result<web::Json<Envelope<Vec<Bookmark>>>, ApiError> {
    let client = state.database.client().await?;
    let max = query.max.unwrap_or(20);
    let bookmarks = database::list(&client, &actor.account, query.project_id, max).await?;
    Ok(web::Json(Envelope::new(bookmarks)))
}
