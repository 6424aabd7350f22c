//! The trash: what is in it, putting files into it, restoring, and deleting for good.

use actix_web::{HttpRequest, web};
use nebula_api::file::{File, Place};
use nebula_api::folder::Changed;
use nebula_api::{Envelope, Page};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::database::trash as database;
use crate::domain::page;
use crate::domain::{file, trash};
use crate::error::{ApiError, NOT_FOUND, WRONG_STATE};
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Query of `DELETE /api/files/{id}`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// `true`: for good, past the trash.
    #[serde(default)]
    permanently: bool,
}

/// Puts a file into the trash, from which it can be restored; its name is free again. With `permanently`, it
/// is deleted for good, also from the trash.
#[utoipa::path(delete, path = "/api/files/{id}", tag = "files", params(("id" = Uuid, Path), DeleteQuery),
    responses((status = 200, description = "Deleted", body = Envelope<serde_json::Value>)))]
pub(crate) async fn add(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    query: web::Query<DeleteQuery>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    if query.permanently {
        return purge_in_task(state, actor, request, (*file_id, false)).await;
    }
    let client = state.database.client().await?;
    database::add(&client, &actor.account, *file_id, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(())))
}

/// Query of `GET` and `DELETE /api/trash`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct TrashQuery {
    /// The project.
    project_id: Uuid,
}

/// Files in the trash of a project, the last deleted first.
#[utoipa::path(get, path = "/api/trash", tag = "files", params(TrashQuery),
    responses((status = 200, description = "Files", body = Page<File>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<TrashQuery>,
) -> Result<web::Json<Page<File>>, ApiError> {
    in_trash(&state, &actor, query.project_id).await.map(web::Json)
}

async fn in_trash(state: &AppState, actor: &Actor, project_id: Uuid) -> Result<Page<File>, ApiError> {
    let client = state.database.client().await?;
    let filter = json!({ "trash": true });
    let place = page::Place { sort: Some("-deleted"), ..page::Place::default() };
    file::page(&client, &actor.account, Some(project_id), &filter, place).await
}

/// Takes a file out of the trash, to where it was or to another place.
#[utoipa::path(post, path = "/api/trash/{id}/restore", tag = "files", params(("id" = Uuid, Path)),
    request_body = Place,
    responses((status = 200, description = "The file", body = Envelope<File>),
        (status = 409, description = "Its place is taken, or it is not in the trash")))]
pub(crate) async fn restore(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    place: web::Json<Object<Place>>,
) -> Result<web::Json<Envelope<File>>, ApiError> {
    let place = file::place(place.into_inner().0)?;
    let client = state.database.client().await?;
    database::restore(&client, &actor.account, *file_id, &place, client_address(&request)).await?;
    drop(client);
    file::find(&state.database, &actor.account, *file_id).await.map(Envelope::new).map(web::Json)
}

/// Deletes a file in the trash for good: cancels its jobs, then deletes its bytes if no other file has them.
#[utoipa::path(delete, path = "/api/trash/{id}", tag = "files", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Deleted", body = Envelope<serde_json::Value>)))]
pub(crate) async fn purge(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    purge_in_task(state, actor, request, (*file_id, true)).await
}

/// A task of its own finishes the deletion even if the client hangs up.
async fn purge_in_task(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file: (Uuid, bool),
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let address = client_address(&request);
    let deleting = tokio::spawn(async move {
        trash::purge(&state.database, &state.store, &actor.account, file, address).await
    });
    deleting.await.map_err(|error| ApiError::internal(&error))??;
    Ok(web::Json(Envelope::new(())))
}

/// Deletes for good what is in the trash of a project now.
#[utoipa::path(delete, path = "/api/trash", tag = "files", params(TrashQuery),
    responses((status = 200, description = "How many files are deleted", body = Envelope<Changed>)))]
pub(crate) async fn empty(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    query: web::Query<TrashQuery>,
) -> Result<web::Json<Envelope<Changed>>, ApiError> {
    let files = in_trash(&state, &actor, query.project_id).await?.data;
    let address = client_address(&request);
    let emptying = tokio::spawn(async move {
        let mut count = 0;
        for file in &files {
            let file = (file.file_id, true);
            match trash::purge(&state.database, &state.store, &actor.account, file, address).await {
                Ok(()) => count += 1,
                // It was deleted or restored meanwhile.
                Err(error) if matches!(error.meaning(), NOT_FOUND | WRONG_STATE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Changed { files: count })
    });
    let changed = emptying.await.map_err(|error| ApiError::internal(&error))??;
    Ok(web::Json(Envelope::new(changed)))
}
