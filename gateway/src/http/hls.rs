//! `/api/files/{id}/hls`: playlists and segments for adaptive streaming.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use nebula_api::Envelope;
use nebula_api::file::{MadeFrom, MakeFrom};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::Account;
use crate::database::hls as database;
use crate::database::{Client, file as file_database};
use crate::domain::playback::{self, Pass};
use crate::domain::{access, hls, share};
use crate::error::ApiError;
use crate::files::stream::{self, Delivery};
use crate::http::extractor::{Actor, state_of};
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::infra::quota::ViewerPermit;
use crate::state::AppState;

const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";

/// Query of the routes below `/api/files/{id}/hls`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HlsQuery {
    /// Token of a link of rendition `hls`, in place of the header `Authorization`. Playlists pass it on.
    token: Option<String>,
}

/// The caller of a route below `/api/files/{id}/hls`: an account, or the holder of a link to the streams of the file.
pub(crate) struct Viewer {
    file_id: Uuid,
    account: Account,
    /// Token of the link, if it came by one, and what that entitles to.
    link: Option<(String, Pass)>,
}

#[derive(Deserialize)]
struct FilePath {
    id: Uuid,
}

impl Viewer {
    fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Self, actix_web::Error> {
        let file_id = web::Path::<FilePath>::from_request(request, payload).into_inner()?.id;
        let token = web::Query::<HlsQuery>::from_request(request, payload).into_inner()?.into_inner().token;
        let tokens = &state_of(request)?.tokens;
        let open = |token: String| playback::open_hls(tokens, &token, file_id).map(|pass| (token, pass));
        let link = token.map(open).transpose()?;
        let account = match &link {
            Some((_, pass)) => pass.account.clone(),
            None => Actor::from_request_head(request)?.account,
        };
        Ok(Self { file_id, account, link })
    }

    /// The viewer's part in the quotas of transfers.
    fn permit(&self, state: &AppState, request: &HttpRequest) -> Result<ViewerPermit, ApiError> {
        state.transfers.of_viewer(self.account.id, self.link.is_some(), client_address(request))
    }

    /// A connection, once it is known that the link has not ended.
    async fn client(&self, state: &AppState) -> Result<Client, ApiError> {
        let client = state.database.client().await?;
        if let Some((_, pass)) = &self.link {
            share::check_pass(&client, pass, self.file_id).await?;
        }
        Ok(client)
    }

    /// Appended to the URLs in playlists. A token has no character that a URL would have to escape.
    fn query(&self) -> String {
        self.link.as_ref().map_or_else(String::new, |(token, _)| format!("?token={token}"))
    }
}

impl FromRequest for Viewer {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Self::read(request, payload))
    }
}

/// The playlist of all variants that can be played now (HLS). 404 until the first minute of the film is made.
#[utoipa::path(get, path = "/api/files/{id}/hls/master.m3u8", tag = "files",
    params(("id" = Uuid, Path), HlsQuery),
    responses((status = 200, description = "The playlist", content_type = "application/vnd.apple.mpegurl")))]
pub(crate) async fn master(state: web::Data<AppState>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    let client = viewer.client(&state).await?;
    let variants = database::playable_variants(&client, &viewer.account, viewer.file_id).await?;
    let text = hls::master(&variants, &viewer.query()).ok_or_else(|| {
        ApiError::not_found("there is no stream of this file, or not yet")
            .hint("GET /api/files/{id} shows how far it is; rendition web or original may be there.")
    })?;
    Ok(playlist(text))
}

/// The playlist of one variant: EVENT while it grows, VOD with its end.
#[utoipa::path(get, path = "/api/files/{id}/hls/{variant}.m3u8", tag = "files",
    params(("id" = Uuid, Path), ("variant" = String, Path, description = "From the master playlist"), HlsQuery),
    responses((status = 200, description = "The playlist", content_type = "application/vnd.apple.mpegurl")))]
pub(crate) async fn media(
    state: web::Data<AppState>,
    path: web::Path<(Uuid, String)>,
    viewer: Viewer,
) -> Result<HttpResponse, ApiError> {
    let (file_id, variant) = path.into_inner();
    let client = viewer.client(&state).await?;
    if variant.starts_with("subtitle-") {
        let seconds = database::duration(&client, &viewer.account, file_id).await?;
        return Ok(playlist(hls::subtitles(&variant, seconds, &viewer.query())));
    }
    let segments = database::segments(&client, &viewer.account, file_id, &variant).await?;
    Ok(playlist(hls::media(&variant, &segments, &viewer.query())))
}

/// The initialization segment of a variant.
#[utoipa::path(get, path = "/api/files/{id}/hls/{variant}/init.mp4", tag = "files",
    params(("id" = Uuid, Path), ("variant" = String, Path, description = "From the master playlist"), HlsQuery),
    responses((status = 200, description = "ftyp and moov", content_type = "video/mp4")))]
pub(crate) async fn init(
    state: web::Data<AppState>,
    path: web::Path<(Uuid, String)>,
    viewer: Viewer,
) -> Result<HttpResponse, ApiError> {
    let (file_id, variant) = path.into_inner();
    let client = viewer.client(&state).await?;
    let bytes = database::init(&client, &viewer.account, file_id, &variant).await?;
    Ok(private("video/mp4").body(bytes))
}

/// A segment of a variant, or a range of it.
#[utoipa::path(get, path = "/api/files/{id}/hls/{variant}/{chunk}-{segment}.m4s", tag = "files",
    params(("id" = Uuid, Path), ("variant" = String, Path, description = "From the master playlist"),
        ("chunk" = i32, Path, minimum = 0), ("segment" = i32, Path, minimum = 0), HlsQuery),
    responses((status = 200, description = "moof and mdat", content_type = "video/iso.segment")))]
pub(crate) async fn segment(
    state: web::Data<AppState>,
    request: HttpRequest,
    path: web::Path<(Uuid, String, i32, i32)>,
    viewer: Viewer,
) -> Result<HttpResponse, ApiError> {
    let (file_id, variant, chunk, segment) = path.into_inner();
    let permit = viewer.permit(&state, &request)?;
    // The connection is given back before the first byte is sent.
    let content = {
        let client = viewer.client(&state).await?;
        database::segment(&client, &viewer.account, file_id, &variant, (chunk, segment)).await?
    };
    let end = access::end_of(&state.access, &state.database, &viewer.account, file_id);
    stream::answer(&request, &state.store, &content, Delivery::default(), permit, end).await
}

/// A subtitle of the film, in WebVTT.
#[utoipa::path(get, path = "/api/files/{id}/hls/{subtitle}.vtt", tag = "files",
    params(("id" = Uuid, Path), ("subtitle" = String, Path, description = "From the master playlist"), HlsQuery),
    responses((status = 200, description = "The subtitles", content_type = "text/vtt")))]
pub(crate) async fn subtitle(
    state: web::Data<AppState>,
    request: HttpRequest,
    path: web::Path<(Uuid, String)>,
    viewer: Viewer,
) -> Result<HttpResponse, ApiError> {
    let (file_id, subtitle) = path.into_inner();
    // A link to the stream opens no other rendition, such as the upload itself.
    if !subtitle.starts_with("subtitle-") {
        return Err(ApiError::not_found(format!("the film has no subtitle \"{subtitle}\""))
            .hint("The master playlist names those it has."));
    }
    let permit = viewer.permit(&state, &request)?;
    let content = {
        let client = viewer.client(&state).await?;
        file_database::content(&client, &viewer.account, file_id, Some(&subtitle)).await?
    };
    let end = access::end_of(&state.access, &state.database, &viewer.account, file_id);
    stream::answer(&request, &state.store, &content, Delivery::default(), permit, end).await
}

/// Moves the minutes of a film from a second on to the front of the queue: somebody waits for them.
#[utoipa::path(post, path = "/api/files/{id}/hls/seek", tag = "files", params(("id" = Uuid, Path)),
    request_body = MakeFrom,
    responses((status = 200, description = "How many chunks were waiting", body = Envelope<MadeFrom>)))]
pub(crate) async fn seek(
    state: web::Data<AppState>,
    actor: Actor,
    file_id: web::Path<Uuid>,
    body: web::Json<Object<MakeFrom>>,
) -> Result<web::Json<Envelope<MadeFrom>>, ApiError> {
    let seconds = body.into_inner().0.seconds;
    if !(0.0..=1e9).contains(&seconds) {
        return Err(ApiError::bad_argument(format!("no film has a second {seconds}"))
            .field("seconds")
            .hint("Give seconds from the start of the film."));
    }
    let client = state.database.client().await?;
    let waiting = database::make_from(&client, &actor.account, *file_id, seconds).await?;
    Ok(web::Json(Envelope::new(MadeFrom { waiting })))
}

fn playlist(text: String) -> HttpResponse {
    private(PLAYLIST_TYPE).body(text)
}

/// A small answer that is asked for again each time. The URL may carry a token, which a referrer would leak.
fn private(content_type: &'static str) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"));
    response
}
