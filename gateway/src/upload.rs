//! `POST /api/files`: an upload in one request, the bytes themselves as its body.
//!
//! In this order, so that nothing half done is ever seen: may the caller do this at all; the body to a staging file,
//! hashed on the way; is it what its name says and all there; into the store; one row that makes it a file. Whatever
//! fails takes everything before it back.

use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use nebula_api::Envelope;
use nebula_api::file::{File, UploadQuery};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::{Actor, client_address};
use crate::database::file as database;
use crate::error::{DISK_FULL, MEDIA_TYPE, TOO_LARGE, UNAVAILABLE};
use crate::{ApiError, AppState, file};

mod container;
mod linger;
mod receive;
mod sniff;

use receive::{Limits, ReceiveError, Staged};
use sniff::{Kind, Refusal};

/// Time between two looks for what killed gateways left in the staging folder.
const SWEEP: Duration = Duration::from_secs(3600);

/// Stores a file in a project. The body is the file itself; a repeated upload of the same bytes finds the first.
#[utoipa::path(post, path = "/api/files", tag = "files", params(UploadQuery),
    request_body(content = String, content_type = "application/octet-stream", description = "The bytes of the file"),
    responses(
        (status = 201, description = "Stored", body = Envelope<File>),
        (status = 200, description = "These bytes are there already under this name", body = Envelope<File>),
        (status = 400, description = "Empty, cut off, or not what its name says"),
        (status = 409, description = "Another file has this name"),
        (status = 413, description = "Larger than allowed"),
        (status = 507, description = "No space left"),
    ))]
pub async fn upload(
    state: web::Data<AppState>,
    actor: Result<Actor, ApiError>,
    request: HttpRequest,
    query: Result<web::Query<UploadQuery>, actix_web::Error>,
    mut body: web::Payload,
) -> HttpResponse {
    let received = match (actor, query) {
        (Ok(actor), Ok(query)) => take(state, actor, &request, query.into_inner(), &mut body).await,
        (Err(error), _) => Err(error),
        (Ok(_), Err(error)) => return linger::refuse(error.error_response(), body).await,
    };
    match received {
        Ok((file, created)) => {
            let mut response = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
            response.insert_header((LOCATION, format!("/api/files/{}", file.file_id)));
            response.json(Envelope::new(file))
        }
        Err(error) => linger::refuse(error.error_response(), body).await,
    }
}

/// The upload from start to end; answers the file and whether it is new.
async fn take(
    state: web::Data<AppState>,
    actor: Actor,
    request: &HttpRequest,
    query: UploadQuery,
    body: &mut web::Payload,
) -> Result<(File, bool), ApiError> {
    refuse_wrapped(request)?;
    check_name(&query.name)?;
    let limits = Limits { promised: content_length(request), most: state.max_upload };
    refuse_early(&state, &query.name, limits).await?;
    {
        let client = state.database.client().await?;
        database::require_member(&client, actor.account_id, query.project_id).await?;
    }
    let staged = receive::receive(body, &state.store.staging(), limits)
        .await
        .map_err(|error| receive_error(&query.name, error))?;
    // From here on the client's part is done: it is finished or taken back, even when the client hangs up.
    let address = client_address(request);
    let finishing = tokio::spawn(async move {
        let (staged, kind) = inspect(&query.name, staged).await?;
        store(&state, actor.account_id, &query, staged, kind, address).await
    });
    finishing.await.map_err(|error| ApiError::internal(&error))?
}

/// The body must be the file and nothing around it.
fn refuse_wrapped(request: &HttpRequest) -> Result<(), ApiError> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(CONTENT_TYPE).to_ascii_lowercase().starts_with("multipart/") {
        return Err(ApiError::new(
            MEDIA_TYPE,
            "the body is a form, this route takes the bytes of the file alone",
        )
        .hint("Send the file as the body, for example: curl --data-binary @FILE URL."));
    }
    if !matches!(text(CONTENT_ENCODING).trim(), "" | "identity") {
        return Err(ApiError::new(
            MEDIA_TYPE,
            "the body is compressed, this route takes the bytes of the file alone",
        )
        .hint("Send it without Content-Encoding."));
    }
    Ok(())
}

/// The rule of the database, applied before gigabytes travel for nothing.
fn check_name(name: &str) -> Result<(), ApiError> {
    let fine = (1..=255).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c.is_control());
    if fine {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(ApiError::bad_argument(format!("{shown:?} cannot be the name of a file"))
        .hint("A file name has 1 to 255 bytes, no slash and no control characters."))
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What can be refused by its announced size.
async fn refuse_early(state: &AppState, name: &str, limits: Limits) -> Result<(), ApiError> {
    let Some(promised) = limits.promised else { return Ok(()) };
    if promised == 0 {
        return Err(empty(name));
    }
    if let Some(most) = limits.most.filter(|most| promised > *most) {
        return Err(too_large(name, most));
    }
    let staging = state.store.staging();
    let free =
        web::block(move || rustix::fs::statvfs(&staging).map(|disk| disk.f_bavail * disk.f_frsize)).await;
    match free.map_err(|error| ApiError::internal(&error))? {
        Ok(free) if promised > free => Err(disk_full()
            .hint(format!("{promised} bytes are needed, {free} are free: delete files or make room."))),
        Ok(_) => Ok(()),
        Err(error) => Err(ApiError::unavailable("storage", &error)),
    }
}

fn empty(name: &str) -> ApiError {
    ApiError::bad_argument(format!("\"{name}\" is empty: 0 bytes arrived"))
        .hint("Send the bytes of the file as the body of the request.")
}

fn too_large(name: &str, most: u64) -> ApiError {
    ApiError::new(TOO_LARGE, format!("\"{name}\" is larger than the {most} bytes that are allowed"))
        .hint("The administrator sets the limit with NEBULA_MAX_UPLOAD.")
}

fn disk_full() -> ApiError {
    ApiError::new(DISK_FULL, "there is no space left for uploads")
}

fn receive_error(name: &str, error: ReceiveError) -> ApiError {
    match error {
        ReceiveError::Interrupted { .. } => {
            ApiError::bad_argument(format!("\"{name}\": {error}")).hint("Upload it again.")
        }
        ReceiveError::TooLarge { most } => too_large(name, most),
        ReceiveError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            disk_full().hint("Delete files or make room on the disk.")
        }
        ReceiveError::Disk(error) => ApiError::unavailable("storage", &error),
    }
}

/// Tells the kind from the bytes, or refuses them.
async fn inspect(name: &str, mut staged: Staged) -> Result<(Staged, Kind), ApiError> {
    if staged.size == 0 {
        return Err(empty(name));
    }
    let owned = name.to_owned();
    let looked = web::block(move || {
        let kind = sniff::inspect(&owned, staged.file.as_file_mut(), staged.size)?;
        Ok::<_, Refusal>((staged, kind))
    });
    looked.await.map_err(|error| ApiError::internal(&error))?.map_err(|refusal| match &refusal {
        Refusal::Read(error) => ApiError::unavailable("storage", error),
        _ => ApiError::bad_argument(refusal.to_string()).hint(refusal.hint()),
    })
}

/// Moves the bytes into the store and makes the row; answers the file and whether it is new.
async fn store(
    state: &AppState,
    account_id: Uuid,
    query: &UploadQuery,
    staged: Staged,
    kind: Kind,
    address: Option<std::net::IpAddr>,
) -> Result<(File, bool), ApiError> {
    // Identifiers that grow with time keep the index of the table compact.
    let file_id = Uuid::now_v7();
    let key = format!("{}/original", file::prefix(file_id));
    let upload = database::Upload {
        file_id,
        project_id: query.project_id,
        name: &query.name,
        size: staged.size,
        sha256: &staged.sha256,
        content_type: kind.content_type,
        storage_key: &key,
        media: kind.media,
    };
    // The file stays open, and so locked, until it has left the staging folder.
    let (locked, path) = staged.file.into_parts();
    state.store.put_file(&key, &path).await?;
    // It has moved, so there is nothing left to delete.
    path.keep().map_err(|error| ApiError::internal(&error))?;
    drop(locked);
    let recorded = record(state, account_id, &upload, address).await;
    if !matches!(recorded, Ok((_, true)) | Err(Unrecorded::Unknown(_)))
        && let Err(error) = state.store.delete(&key).await
    {
        tracing::error!(%key, %error, "the bytes of a refused upload are left in the store");
    }
    match recorded {
        Ok((file_id, created)) => Ok((file::find(state, account_id, file_id).await?, created)),
        Err(Unrecorded::Refused(error)) => Err(error),
        Err(Unrecorded::Unknown(error)) => {
            tracing::error!(%key, "the database went away while an upload was recorded: its bytes may belong to nobody");
            Err(error)
        }
    }
}

/// Why there is no row to tell of.
enum Unrecorded {
    /// There is none.
    Refused(ApiError),
    /// There may be one: its bytes must stay.
    Unknown(ApiError),
}

/// Makes the row. When the connection breaks in the middle, the database is asked what became of it.
async fn record(
    state: &AppState,
    account_id: Uuid,
    upload: &database::Upload<'_>,
    address: Option<std::net::IpAddr>,
) -> Result<(Uuid, bool), Unrecorded> {
    let client = state.database.client().await.map_err(Unrecorded::Refused)?;
    match database::create(&client, account_id, upload, address).await {
        Ok(recorded) => Ok(recorded),
        Err(error) if error.meaning() == UNAVAILABLE => {
            drop(client);
            let again = async {
                let client = state.database.client().await?;
                database::list(&client, account_id, None, Some(upload.file_id)).await
            };
            match again.await {
                Ok(found) if found.is_empty() => Err(Unrecorded::Refused(error)),
                Ok(_) => Ok((upload.file_id, true)),
                Err(_) => Err(Unrecorded::Unknown(error)),
            }
        }
        Err(error) => Err(Unrecorded::Refused(error)),
    }
}

/// Deletes what killed gateways left in the staging folder, now and every hour until `stopping` is cancelled.
pub fn keep_clean(staging: PathBuf, stopping: CancellationToken) {
    let sweeping = async move {
        loop {
            let folder = staging.clone();
            match web::block(move || receive::sweep(&folder)).await {
                Ok(Ok(0)) => {}
                Ok(Ok(count)) => tracing::info!(count, "deleted abandoned uploads from the staging folder"),
                Ok(Err(error)) => tracing::warn!(%error, "cannot clean the staging folder"),
                Err(error) => tracing::warn!(%error, "cannot clean the staging folder"),
            }
            tokio::time::sleep(SWEEP).await;
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(sweeping).await });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_the_database() {
        for good in ["a", "film.mkv", "…", &"x".repeat(255), " ", "...", "a\\b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a/b", "/etc/passwd", "a\nb", "a\0", "\u{85}", &"x".repeat(256), &"ü".repeat(128)]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
