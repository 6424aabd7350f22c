//! Files: listing, playing, linking, deleting. Uploading is [`crate::upload`].

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::DateTime;
use nebula_api::Envelope;
use nebula_api::file::{File, Link};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::{Actor, TokenError, client_address, now};
use crate::database::file as database;
use crate::error::{NOT_AUTHENTICATED, NOT_FOUND};
use crate::stream::{self, Delivery};
use crate::{ApiError, AppState};

/// How long a link plays, in seconds: longer than any film with an interval, shorter than the memory of a chat.
const LINK_LIFETIME: u64 = 12 * 3600;

/// Query of `GET /api/files`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
pub struct ListQuery {
    /// Only of this project.
    project_id: Option<Uuid>,
}

/// Files the caller sees, newest first.
#[utoipa::path(get, path = "/api/files", tag = "files", params(ListQuery),
    responses((status = 200, description = "Files", body = Envelope<Vec<File>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Envelope<Vec<File>>>, ApiError> {
    let client = state.database.client().await?;
    let files = database::list(&client, actor.account_id, query.project_id, None).await?;
    Ok(web::Json(Envelope::new(files)))
}

/// One file with its state and renditions.
#[utoipa::path(get, path = "/api/files/{id}", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The file", body = Envelope<File>)))]
pub async fn show(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<File>>, ApiError> {
    find(&state, actor.account_id, *file_id).await.map(Envelope::new).map(web::Json)
}

/// One file, if the account sees it.
pub(crate) async fn find(state: &AppState, account_id: Uuid, file_id: Uuid) -> Result<File, ApiError> {
    let client = state.database.client().await?;
    let mut found = database::list(&client, account_id, None, Some(file_id)).await?;
    found.pop().ok_or_else(|| {
        ApiError::not_found(format!("there is no file {file_id}")).hint("List files: GET /api/files.")
    })
}

/// Query of `GET /api/files/{id}/content`.
#[derive(Deserialize, utoipa::IntoParams)]
pub struct ContentQuery {
    /// `original` as uploaded, `web` for browsers; without it what plays best.
    rendition: Option<String>,
    /// `1` saves the file instead of showing it.
    download: Option<String>,
    /// Token of a link, instead of the `Authorization` header; it decides the rendition too.
    token: Option<String>,
}

/// The bytes: whole or a range (RFC 9110), for GET and HEAD. A `<video>` or a player comes with a link's token.
#[utoipa::path(method(get, head), path = "/api/files/{id}/content", tag = "files", params(("id" = Uuid, Path), ContentQuery),
    responses(
        (status = 200, description = "All of it"),
        (status = 206, description = "A range of it"),
        (status = 304, description = "The caller has it already"),
        (status = 416, description = "No byte of it is in the range"),
    ))]
pub async fn content(
    state: web::Data<AppState>,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    query: web::Query<ContentQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let (account_id, rendition) = match &query.token {
        Some(token) => {
            open_link(&state, token, *file_id).map(|(account_id, kind)| (account_id, Some(kind)))?
        }
        None => (Actor::from_request_head(&request)?.account_id, query.rendition),
    };
    // The connection goes back before the first byte: a player may stay for hours.
    let content = {
        let client = state.database.client().await?;
        database::content(&client, account_id, *file_id, rendition.as_deref()).await?
    };
    let delivery = Delivery {
        download: query.download.is_some_and(|value| !matches!(value.as_str(), "0" | "false")),
        // Renditions are made anew by a repeated job, the upload never changes.
        immutable: rendition.as_deref() == Some("original"),
    };
    stream::answer(&request, &state.store, &content, delivery).await
}

/// What a link's token says: who lets whom see which bytes until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LinkClaims {
    /// The account that made the link; the link ends when that account may no longer see the file.
    sub: Uuid,
    /// The file.
    file: Uuid,
    /// The rendition.
    rendition: String,
    /// When it expires, seconds since 1970.
    exp: u64,
    /// [`LinkClaims::AUDIENCE`].
    aud: String,
}

impl LinkClaims {
    /// What link tokens are for; keeps them from passing as access tokens and the other way round.
    const AUDIENCE: &'static str = "nebula-link";
}

fn open_link(state: &AppState, token: &str, file_id: Uuid) -> Result<(Uuid, String), ApiError> {
    let refused = |sentence: &str| {
        ApiError::new(NOT_AUTHENTICATED, sentence).hint("Make a new one: POST /api/files/{id}/link.")
    };
    match state.tokens.open::<LinkClaims>(token, LinkClaims::AUDIENCE) {
        Ok(claims) if claims.file == file_id => Ok((claims.sub, claims.rendition)),
        Ok(_) => Err(refused("this link belongs to another file")),
        Err(TokenError::Expired) => Err(refused("this link has expired")),
        Err(TokenError::Invalid) => Err(refused("this link is not valid")),
    }
}

/// Query of `POST /api/files/{id}/link`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub struct LinkQuery {
    /// `original` or `web`; without it what plays best now.
    rendition: Option<String>,
}

/// A URL that plays without a header for twelve hours, with the rights of its maker.
#[utoipa::path(post, path = "/api/files/{id}/link", tag = "files", params(("id" = Uuid, Path), LinkQuery),
    responses((status = 200, description = "The link", body = Envelope<Link>)))]
pub async fn link(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
    query: web::Query<LinkQuery>,
) -> Result<web::Json<Envelope<Link>>, ApiError> {
    let client = state.database.client().await?;
    let look = async |kind: &str| database::content(&client, actor.account_id, *file_id, Some(kind)).await;
    // Decided here and kept: were it decided at each request, a player in the middle of the upload would find itself in
    // the middle of another file when the rendition is done. And a link to nothing is refused here, not in a player.
    let rendition = match query.into_inner().rendition {
        Some(kind) => look(&kind).await.map(|_| kind)?,
        None => match look("web").await {
            Ok(_) => "web".to_owned(),
            Err(error) if error.meaning() == NOT_FOUND => {
                look("original").await.map(|_| "original".to_owned())?
            }
            Err(error) => return Err(error),
        },
    };
    let exp = now() + LINK_LIFETIME;
    let claims = LinkClaims {
        sub: actor.account_id,
        file: *file_id,
        rendition,
        exp,
        aud: LinkClaims::AUDIENCE.to_owned(),
    };
    let token = state.tokens.sign(&claims)?;
    let seconds = i64::try_from(exp).map_err(|error| ApiError::internal(&error))?;
    let expires_at = DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| ApiError::internal(&"the clock is beyond what a date can hold"))?;
    let path = format!("/api/files/{file_id}/content?token={token}");
    Ok(web::Json(Envelope::new(Link { path, expires_at })))
}

/// Forgets a file, cancels its job, then deletes its bytes.
#[utoipa::path(delete, path = "/api/files/{id}", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Deleted", body = Envelope<serde_json::Value>)))]
pub async fn delete(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let (address, file_id) = (client_address(&request), *file_id);
    // Once begun it is finished, even when the client hangs up in the middle.
    let deleting = tokio::spawn(async move {
        // A statement of its own is a transaction of its own: from here on nobody can find the bytes any more.
        let keys =
            database::delete(&state.database.client().await?, actor.account_id, file_id, address).await?;
        for key in keys {
            if let Err(error) = state.store.delete(&key).await {
                tracing::error!(%key, %error, "the bytes of a deleted file are left in the store");
            }
        }
        // Whatever a killed worker left beside them.
        if let Err(error) = state.store.delete_prefix(&prefix(file_id)).await {
            tracing::error!(%file_id, %error, "the folder of a deleted file is left in the store");
        }
        Ok::<_, ApiError>(())
    });
    deleting.await.map_err(|error| ApiError::internal(&error))??;
    Ok(web::Json(Envelope::new(())))
}

/// Where everything of a file is in the store.
pub(crate) fn prefix(file_id: Uuid) -> String {
    format!("files/{file_id}")
}
