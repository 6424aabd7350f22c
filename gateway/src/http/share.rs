//! `/api/shares`, and the page of a link.

use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::share::{MadeShare, NewShare, OpenShare, Share, Shared};
use nebula_api::{Envelope, Page, word};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::share as database;
use crate::domain::page::{self, Filter, Place};
use crate::domain::share;
use crate::error::ApiError;
use crate::http::console;
use crate::http::extractor::Actor;
use crate::http::no_store::NoStore;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

static ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// Makes a link by which people without an account open a file, or the files of a folder. The answer is the only one that has it.
#[utoipa::path(post, path = "/api/shares", tag = "share", request_body = NewShare,
    responses((status = 200, description = "Made", body = Envelope<MadeShare>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<NewShare>>,
) -> Result<NoStore<Envelope<MadeShare>>, ApiError> {
    let address = client_address(&request);
    share::create(&state.database, &state.passwords, &actor.account, body.into_inner().0, address)
        .await
        .map(Envelope::new)
        .map(NoStore)
}

/// Query of `GET /api/shares`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only this project; without it, every project the caller sees.
    project_id: Option<Uuid>,
    /// Only links to this file.
    file_id: Option<Uuid>,
    /// Only links with this part in the name of their file or folder, or in their note.
    q: Option<String>,
    /// Only links in this state.
    #[param(value_type = Option<word::ShareState>, inline)]
    state: Option<String>,
    /// `made`, `used` or `name`; with a minus, from the end. Without it, newest first.
    sort: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Links of a page: 1 to 1000; without it, all at once.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Links of the caller's projects, also ended ones, newest first.
#[utoipa::path(get, path = "/api/shares", tag = "share", params(ListQuery),
    responses((status = 200, description = "Links", body = Page<Share>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<Share>>, ApiError> {
    let client = state.database.client().await?;
    let shares = database::list(&client, &actor.account, query.project_id, query.file_id).await?;
    let filter = Filter { q: query.q.as_deref(), state: query.state.as_deref() };
    let (sort, cursor) = (query.sort.as_deref(), query.cursor.as_deref());
    page::of_whole(shares, filter, Place { sort, cursor, max: query.max }).map(web::Json)
}

/// Ends a link: its next request is refused, also of a film that plays.
#[utoipa::path(delete, path = "/api/shares/{id}", tag = "share", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Ended", body = Envelope<serde_json::Value>)))]
pub(crate) async fn revoke(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    share_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::revoke(&client, &actor.account, *share_id, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(())))
}

/// Opens a link: name of the file, and paths that play and fetch it; of a link to a folder, the list of its files, or one
/// of them (`fileId`).
#[utoipa::path(post, path = "/api/shares/open", tag = "share", request_body = OpenShare,
    responses((status = 200, description = "Open", body = Envelope<Shared>),
        (status = 401, description = "It has a password, and this is not it"),
        (status = 404, description = "No such link"),
        (status = 410, description = "It has ended, or the file is not behind it"),
        (status = 429, description = "Too many wrong passwords or links")))]
pub(crate) async fn open(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Json<Object<OpenShare>>,
) -> Result<NoStore<Envelope<Shared>>, ApiError> {
    let AppState { database, tokens, passwords, limits, .. } = &**state;
    let door = share::Door { database, tokens, passwords, limits };
    share::open(&door, body.into_inner().0, client_address(&request)).await.map(Envelope::new).map(NoStore)
}

/// The page of a link.
#[utoipa::path(get, path = "/s/{token}", tag = "share",
    params(("token" = String, Path, description = "Of the link")),
    responses((status = 200, description = "The page", content_type = "text/html")))]
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    let mut response = console::page(&request).await;
    // The address is a secret: it is not to be found again in caches and search engines.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(ROBOTS.clone(), HeaderValue::from_static("noindex, nofollow"));
    response
}
