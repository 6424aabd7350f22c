//! `/api/files/{id}/poster`, `…/sprites.vtt` and `…/sprites/{sheet}.jpg`: pictures that stand for a file, and those to seek by.

use std::future::pending;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::TryStreamExt;
use nebula_storage::Store;
use serde::Deserialize;
use uuid::Uuid;

use crate::database::file as database;
use crate::database::file::Content;
use crate::domain::{playback, share};
use crate::error::ApiError;
use crate::files::stream::{self, Delivery};
use crate::http::extractor::Actor;
use crate::state::AppState;

/// Bytes of an index; one of 600 pictures has a tenth of it.
const MAX_INDEX: u64 = 1 << 20;

/// Query of the pictures of a file.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PictureQuery {
    /// Token of any link to the file, in place of the header `Authorization`.
    token: Option<String>,
    /// SHA-256 of the rendition that is meant: then the answer may be cached for ever.
    v: Option<String>,
}

/// A picture (JPEG) of a film that is not black, or the cover of a recording of sound.
#[utoipa::path(method(get, head), path = "/api/files/{id}/poster", tag = "files",
    params(("id" = Uuid, Path), PictureQuery),
    responses((status = 200, description = "The picture", content_type = "image/jpeg")))]
pub(crate) async fn poster(
    state: web::Data<AppState>,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    query: web::Query<PictureQuery>,
) -> Result<HttpResponse, ApiError> {
    answer(&state, &request, *file_id, "poster", &query).await
}

/// A sheet of small pictures (JPEG); the index says which part of it is which moment.
#[utoipa::path(method(get, head), path = "/api/files/{id}/sprites/{sheet}.jpg", tag = "files",
    params(("id" = Uuid, Path), ("sheet" = u32, Path, description = "From 0; the index names it"), PictureQuery),
    responses((status = 200, description = "The sheet", content_type = "image/jpeg")))]
pub(crate) async fn sheet(
    state: web::Data<AppState>,
    request: HttpRequest,
    path: web::Path<(Uuid, u32)>,
    query: web::Query<PictureQuery>,
) -> Result<HttpResponse, ApiError> {
    let (file_id, sheet) = path.into_inner();
    answer(&state, &request, file_id, &format!("sprites-{sheet}"), &query).await
}

/// The index of the small pictures: WebVTT whose cues name a part of a sheet (`sprites/0.jpg#xywh=160,0,160,90`).
#[utoipa::path(get, path = "/api/files/{id}/sprites.vtt", tag = "files", params(("id" = Uuid, Path), PictureQuery),
    responses((status = 200, description = "The index", content_type = "text/vtt")))]
pub(crate) async fn index(
    state: web::Data<AppState>,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    query: web::Query<PictureQuery>,
) -> Result<HttpResponse, ApiError> {
    let content = find(&state, &request, *file_id, "sprites-vtt", &query).await?;
    let text = read(&state.store, &content).await?;
    let text = query.token.as_ref().map_or_else(|| text.clone(), |token| with_token(&text, token));
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/vtt; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(text))
}

/// Passes the token of a link on to the sheets.
fn with_token(text: &str, token: &str) -> String {
    text.replace(".jpg#", &format!(".jpg?token={token}#"))
}

async fn read(store: &Store, content: &Content) -> Result<String, ApiError> {
    let bytes = store.read(&content.storage_key, 0..content.size.min(MAX_INDEX));
    let parts: Vec<_> = bytes.try_collect().await?;
    String::from_utf8(parts.concat()).map_err(|error| ApiError::internal(&error))
}

async fn answer(
    state: &AppState,
    request: &HttpRequest,
    file_id: Uuid,
    kind: &str,
    query: &PictureQuery,
) -> Result<HttpResponse, ApiError> {
    let content = find(state, request, file_id, kind, query).await?;
    let immutable = query.v.as_ref().is_some_and(|version| *version == content.etag);
    stream::answer(request, &state.store, &content, Delivery { download: false, immutable }, (), pending())
        .await
}

async fn find(
    state: &AppState,
    request: &HttpRequest,
    file_id: Uuid,
    kind: &str,
    query: &PictureQuery,
) -> Result<Content, ApiError> {
    let pass =
        query.token.as_ref().map(|token| playback::open_any(&state.tokens, token, file_id)).transpose()?;
    let account = match &pass {
        Some(pass) => pass.account.clone(),
        None => Actor::from_request_head(request)?.account,
    };
    let client = state.database.client().await?;
    if let Some(pass) = &pass {
        share::check_pass(&client, pass, file_id).await?;
    }
    database::content(&client, &account, file_id, Some(kind)).await
}
