//! `/api/folders`: folders in a folder, moving, and putting all files of one into the trash.

use actix_web::{HttpRequest, web};
use nebula_api::folder::{Changed, Folder, MoveFolder};
use nebula_api::{Envelope, file_name};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::folder as database;
use crate::domain::file;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Query of `GET` and `DELETE /api/folders`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct FolderQuery {
    /// The project.
    project_id: Uuid,
    /// Names joined by slashes; empty or absent: the top.
    #[serde(default)]
    folder: String,
}

/// The folders directly in a folder, with what is in them and below. Files are in `GET /api/files?folder=`.
#[utoipa::path(get, path = "/api/folders", tag = "files", params(FolderQuery),
    responses((status = 200, description = "Folders", body = Envelope<Vec<Folder>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<FolderQuery>,
) -> Result<web::Json<Envelope<Vec<Folder>>>, ApiError> {
    let folder = checked(&query.folder)?;
    let client = state.database.client().await?;
    let folders = database::list(&client, &actor.account, query.project_id, &folder).await?;
    Ok(web::Json(Envelope::new(folders)))
}

/// Moves or renames a folder with all that is below it, or nothing if a name is taken there.
#[utoipa::path(post, path = "/api/folders/move", tag = "files", request_body = MoveFolder,
    responses((status = 200, description = "How many files moved", body = Envelope<Changed>),
        (status = 409, description = "A file of the same name is there")))]
pub(crate) async fn relocate(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    moved: web::Json<Object<MoveFolder>>,
) -> Result<web::Json<Envelope<Changed>>, ApiError> {
    let moved = moved.into_inner().0;
    let moved = MoveFolder { folder: checked(&moved.folder)?, to: checked(&moved.to)?, ..moved };
    let client = state.database.client().await?;
    let files = database::relocate(&client, &actor.account, &moved, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(Changed { files: files.into() })))
}

/// Puts all files in a folder and below it into the trash.
#[utoipa::path(delete, path = "/api/folders", tag = "files", params(FolderQuery),
    responses((status = 200, description = "How many files went there", body = Envelope<Changed>)))]
pub(crate) async fn trash(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    query: web::Query<FolderQuery>,
) -> Result<web::Json<Envelope<Changed>>, ApiError> {
    let folder = checked(&query.folder)?;
    let client = state.database.client().await?;
    let address = client_address(&request);
    let files = database::trash(&client, &actor.account, query.project_id, &folder, address).await?;
    Ok(web::Json(Envelope::new(Changed { files: files.into() })))
}

fn checked(folder: &str) -> Result<String, ApiError> {
    let folder = file_name::composed(folder);
    file::check_folder(&folder).map(|()| folder)
}
