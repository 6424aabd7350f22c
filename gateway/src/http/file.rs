//! `/api/files`: the list, places, tags, content, links. Uploading is in [`super::upload`], deletion in
//! [`super::trash`].

use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::file::{Conversion, File, Link, Place, Tags};
use nebula_api::folder::Tag;
use nebula_api::{Envelope, Page, file_name, word};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::database::file as database;
use crate::domain::access;
use crate::domain::playback::{self, Pass};
use crate::domain::rate_limit::Limit;
use crate::domain::{file, page, share};
use crate::error::ApiError;
use crate::files::stream::{self, Delivery};
use crate::http::extractor::Actor;
use crate::http::no_store::NoStore;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Query of `GET /api/files`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only this project; without it, every project the caller sees.
    project_id: Option<Uuid>,
    /// Only files in this folder: names joined by slashes, empty for the top.
    folder: Option<String>,
    /// `true`: also files below the folder.
    below: Option<bool>,
    /// Only files of exactly this name.
    name: Option<String>,
    /// Only files whose names have all of these words, in small letters or capitals, with accents or without.
    q: Option<String>,
    /// Only `film`, `sound`, `picture` or `other`.
    #[param(value_type = Option<word::FileKind>, inline)]
    kind: Option<String>,
    /// Only files with all of these tags, separated by commas.
    tags: Option<String>,
    /// Only `waiting`, `processing`, `ready` or `failed`.
    #[param(value_type = Option<word::FileState>, inline)]
    state: Option<String>,
    /// `name`, `date`, `size` or `duration`; with a minus, from the end. Without it `-date`, newest first.
    #[param(value_type = Option<word::FileSort>, inline)]
    sort: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Files of a page: 1 to 1000; without it, all at once.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Files the caller sees, by filter and order, in pages if `max` is given.
#[utoipa::path(get, path = "/api/files", tag = "files", params(ListQuery),
    responses((status = 200, description = "Files", body = Page<File>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<File>>, ApiError> {
    let query = query.into_inner();
    let composed = |text: Option<String>| text.map(|text| file_name::composed(&text));
    let filter = json!({
        "folder": composed(query.folder),
        "below": query.below,
        "name": composed(query.name),
        "q": query.q,
        "kind": query.kind,
        "tags": query.tags.as_deref().map(split_tags),
        "state": query.state,
    });
    let client = state.database.client().await?;
    let place = page::Place { sort: query.sort.as_deref(), cursor: query.cursor.as_deref(), max: query.max };
    file::page(&client, &actor.account, query.project_id, &filter, place).await.map(web::Json)
}

/// Tags as a query has them, in the form in which they are kept.
fn split_tags(text: &str) -> Vec<String> {
    let tags = text.split(',').map(|tag| file_name::composed(tag.trim()).to_lowercase());
    tags.filter(|tag| !tag.is_empty()).collect()
}

/// One file with its state and renditions.
#[utoipa::path(get, path = "/api/files/{id}", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 200, description = "The file", body = Envelope<File>)))]
pub(crate) async fn show(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<File>>, ApiError> {
    file::find(&state.database, &actor.account, *file_id).await.map(Envelope::new).map(web::Json)
}

/// Query of `GET /api/files/{id}/content`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContentQuery {
    /// `original` as uploaded, `web` for browsers; without it, the one that plays best.
    rendition: Option<String>,
    /// `1` saves the file instead of showing it.
    download: Option<String>,
    /// Token of a link, in place of the header `Authorization`; it also fixes the rendition.
    token: Option<String>,
}

/// The bytes: whole or a range (RFC 9110), for GET and HEAD. A `<video>` or a player uses the token of a
/// link.
#[utoipa::path(method(get, head), path = "/api/files/{id}/content", tag = "files",
    params(("id" = Uuid, Path), ContentQuery),
    responses(
        (status = 200, description = "All of it"),
        (status = 206, description = "A range of it"),
        (status = 304, description = "The caller has it already"),
        (status = 416, description = "No byte of it is in the range"),
    ))]
pub(crate) async fn content(
    state: web::Data<AppState>,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    query: web::Query<ContentQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let pass =
        query.token.as_ref().map(|token| playback::open(&state.tokens, token, *file_id)).transpose()?;
    let (account, rendition) = match &pass {
        Some(Pass { account, rendition }) => (account.clone(), Some(rendition.clone())),
        None => (Actor::from_request_head(&request)?.account, query.rendition),
    };
    let address = client_address(&request);
    state.limits.take_both(Limit::Streams, account.id, address).await?;
    let permit = state.transfers.of_viewer(account.id, pass.is_some(), address)?;
    // The connection is given back before the first byte is sent: a player may stay for hours.
    let content = {
        let client = state.database.client().await?;
        if let Some(pass) = &pass {
            share::check_pass(&client, pass, *file_id).await?;
        }
        database::content(&client, &account, *file_id, rendition.as_deref()).await?
    };
    let delivery = Delivery {
        download: query.download.is_some_and(|value| !matches!(value.as_str(), "0" | "false")),
        // A repeated job makes renditions anew; the upload never changes.
        immutable: rendition.as_deref() == Some("original"),
    };
    let end = access::end_of(&state.access, &state.database, &account, *file_id);
    stream::answer(&request, &state.store, &content, delivery, permit, end).await
}

/// Query of `POST /api/files/{id}/link`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinkQuery {
    /// `original`, `web`, or `hls` for a playlist of its streams; without it, the one that plays best now.
    rendition: Option<String>,
}

/// A URL that plays without a header for twelve hours, with the rights of the caller.
#[utoipa::path(post, path = "/api/files/{id}/link", tag = "files", params(("id" = Uuid, Path), LinkQuery),
    responses((status = 200, description = "The link", body = Envelope<Link>)))]
pub(crate) async fn link(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
    query: web::Query<LinkQuery>,
) -> Result<NoStore<Envelope<Link>>, ApiError> {
    let client = state.database.client().await?;
    let rendition = query.into_inner().rendition;
    let link = playback::make(&client, &state.tokens, &actor.account, *file_id, rendition).await?;
    let expires_at = link.expires_at()?;
    let path = playback::path(*file_id, &link);
    Ok(NoStore(Envelope::new(Link { path, expires_at })))
}

/// Gives a file another folder or name.
#[utoipa::path(patch, path = "/api/files/{id}", tag = "files", params(("id" = Uuid, Path)),
    request_body = Place,
    responses((status = 200, description = "The file", body = Envelope<File>),
        (status = 409, description = "Another file is there")))]
pub(crate) async fn relocate(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    place: web::Json<Object<Place>>,
) -> Result<web::Json<Envelope<File>>, ApiError> {
    let place = file::place(place.into_inner().0)?;
    let client = state.database.client().await?;
    database::relocate(&client, &actor.account, *file_id, &place, client_address(&request)).await?;
    drop(client);
    file::find(&state.database, &actor.account, *file_id).await.map(Envelope::new).map(web::Json)
}

/// Converts a file whose conversion has failed once more, or keeps it as it was uploaded.
#[utoipa::path(put, path = "/api/files/{id}/conversion", tag = "files", params(("id" = Uuid, Path)),
    request_body = Conversion,
    responses((status = 200, description = "The file", body = Envelope<File>),
        (status = 409, description = "Its conversion has not failed")))]
pub(crate) async fn convert(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    body: web::Json<Object<Conversion>>,
) -> Result<web::Json<Envelope<File>>, ApiError> {
    let Conversion { wanted } = body.into_inner().0;
    let client = state.database.client().await?;
    database::convert(&client, &actor.account, *file_id, wanted, client_address(&request)).await?;
    drop(client);
    file::find(&state.database, &actor.account, *file_id).await.map(Envelope::new).map(web::Json)
}

/// Sets the tags of a file.
#[utoipa::path(put, path = "/api/files/{id}/tags", tag = "files", params(("id" = Uuid, Path)),
    request_body = Tags,
    responses((status = 200, description = "The file", body = Envelope<File>)))]
pub(crate) async fn tag(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    tags: web::Json<Object<Tags>>,
) -> Result<web::Json<Envelope<File>>, ApiError> {
    let tags: Vec<_> = tags.tags.iter().map(|tag| file_name::composed(tag)).collect();
    let client = state.database.client().await?;
    database::tag(&client, &actor.account, *file_id, &tags, client_address(&request)).await?;
    drop(client);
    file::find(&state.database, &actor.account, *file_id).await.map(Envelope::new).map(web::Json)
}

/// Query of `GET /api/tags`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct TagQuery {
    /// The project.
    project_id: Uuid,
}

/// The tags of a project's files.
#[utoipa::path(get, path = "/api/tags", tag = "files", params(TagQuery),
    responses((status = 200, description = "Tags, with the number of files", body = Envelope<Vec<Tag>>)))]
pub(crate) async fn tags(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<TagQuery>,
) -> Result<web::Json<Envelope<Vec<Tag>>>, ApiError> {
    let client = state.database.client().await?;
    database::tags(&client, &actor.account, query.project_id).await.map(Envelope::new).map(web::Json)
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service};

    use super::*;
    use crate::database::Grant;
    use crate::state;

    #[actix_web::test]
    async fn holders_of_links_and_the_account_itself_do_not_use_up_each_others_share() {
        let (state, _folder) = state::tests::unconnected();
        let [account, file] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let maker = state.tokens.signer().account(account, Grant::Session(Uuid::from_u128(3)));
        let link = playback::sign(&state.tokens, &maker, file, "web".to_owned(), None).unwrap();
        let app = App::new().app_data(state.clone()).route("/{id}", web::get().to(content));
        let app = init_service(app).await;
        let play = async || {
            let request = TestRequest::get().uri(&format!("/{file}?token={}", link.token)).to_request();
            call_service(&app, request).await.status()
        };
        let own: Vec<_> = (0..500).map_while(|_| state.transfers.of_account(account).ok()).collect();
        // The database does not answer here.
        assert_eq!(play().await, StatusCode::SERVICE_UNAVAILABLE);
        drop(own);
        let held: Vec<_> = (0..500).map_while(|_| state.transfers.of_link(account, None).ok()).collect();
        assert_eq!(play().await, StatusCode::TOO_MANY_REQUESTS);
        state.transfers.of_account(account).unwrap();
        drop(held);
        assert_eq!(play().await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
