//! Files and folders as visitors of a link see them: paths with tokens that end with the link.

use nebula_api::file::File;
use nebula_api::share::{SharedEntry, SharedFile, SharedFolder, SharedPath};
use serde_json::json;
use uuid::Uuid;

use crate::database::share::FoundShare;
use crate::database::{Account, Client, Grant, file as database, hls};
use crate::domain::auth::token::Tokens;
use crate::domain::page::Place;
use crate::domain::{file, playback};
use crate::error::ApiError;

/// Files of a folder that are shown.
const MAX_FILES: i32 = 1000;

/// A file, and paths that play, show and fetch it. Fails with 404 if it is not there any more.
pub(super) async fn file(
    client: &Client,
    tokens: &Tokens,
    share: &FoundShare,
    file_id: Uuid,
) -> Result<SharedFile, ApiError> {
    let maker = &maker(tokens, share);
    let original = database::content(client, maker, file_id, Some("original")).await?;
    let shown = database::find(client, maker, file_id).await?;
    let shown = shown.ok_or_else(|| ApiError::not_found("the file of this link was deleted"))?;
    let path = |rendition: &str| path(tokens, share, file_id, rendition);
    let is_streamed = !hls::playable_variants(client, maker, file_id).await?.is_empty();
    let web = shown.renditions.iter().find(|rendition| rendition.kind == "web");
    // A film whose upload may not be fetched is played from what was made of it.
    let is_media = shown.job_id.is_some();
    let play = match web {
        Some(web) => Some(SharedPath { path: path("web")?, content_type: web.content_type.clone() }),
        None if is_media && !share.allows_download => None,
        None => Some(SharedPath { path: path("original")?, content_type: original.content_type.clone() }),
    };
    let picture = |kind: &str, name: &str| {
        has(&shown, kind).then(|| picture(tokens, share, file_id, (kind, name))).transpose()
    };
    Ok(SharedFile {
        size: shown.size,
        play,
        stream: is_streamed.then(|| path("hls")).transpose()?,
        poster: picture("poster", "poster")?,
        sprites: picture("sprites-vtt", "sprites.vtt")?,
        download: share
            .allows_download
            .then(|| path("original"))
            .transpose()?
            .map(|path| path + "&download=1"),
        expires_at: share.expires_at,
        content_type: shown.content_type,
        state: shown.state,
        name: shown.name,
    })
}

/// The files in a folder and below it, by name.
pub(super) async fn folder(
    client: &Client,
    tokens: &Tokens,
    share: &FoundShare,
    project_id: Uuid,
    folder: &str,
) -> Result<SharedFolder, ApiError> {
    let filter = json!({"folder": folder, "below": true});
    let place = Place { sort: Some("name"), cursor: None, max: Some(MAX_FILES) };
    let page = file::page(client, &maker(tokens, share), Some(project_id), &filter, place).await?;
    let entry = |file: File| {
        let poster = has(&file, "poster").then(|| picture(tokens, share, file.file_id, ("poster", "poster")));
        Ok::<_, ApiError>(SharedEntry {
            file_id: file.file_id,
            name: below(folder, &file),
            size: file.size,
            content_type: file.content_type,
            state: file.state,
            duration: file.duration,
            poster: poster.transpose()?,
        })
    };
    Ok(SharedFolder {
        name: folder.rsplit('/').next().unwrap_or_default().to_owned(),
        files: page.data.into_iter().map(entry).collect::<Result<_, _>>()?,
        is_complete: page.next.is_none(),
        expires_at: share.expires_at,
    })
}

/// Path of a file from a folder on.
fn below(folder: &str, file: &File) -> String {
    let between = file.folder.get(folder.len()..).unwrap_or_default().trim_start_matches('/');
    if between.is_empty() { file.name.clone() } else { format!("{between}/{}", file.name) }
}

/// The account whose rights the link has, as long as the link lasts.
fn maker(tokens: &Tokens, share: &FoundShare) -> Account {
    tokens.signer().account(share.made_by, Grant::Share(share.share_id))
}

fn has(file: &File, kind: &str) -> bool {
    file.renditions.iter().any(|rendition| rendition.kind == kind)
}

fn path(tokens: &Tokens, share: &FoundShare, file_id: Uuid, rendition: &str) -> Result<String, ApiError> {
    let expires = share.expires_at.map(|at| at.timestamp().unsigned_abs());
    let link = playback::sign(tokens, &maker(tokens, share), file_id, rendition.to_owned(), expires)?;
    Ok(playback::path(file_id, &link))
}

/// Path of a picture of a kind, by its name in the address. Its token opens that kind and no other.
fn picture(
    tokens: &Tokens,
    share: &FoundShare,
    file_id: Uuid,
    (kind, name): (&str, &str),
) -> Result<String, ApiError> {
    Ok(path(tokens, share, file_id, kind)?.replace("/content?", &format!("/{name}?")))
}
