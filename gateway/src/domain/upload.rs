//! Uploads: `POST /api/files` with the bytes as its body.
//!
//! The steps, in an order that shows nothing half done: check that the caller may upload at all; receive the
//! body into a staging file, hashing it on the way; check its content; move it into the store; insert the row
//! that makes it a file. A step that fails undoes those before it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use nebula_api::file::{File, UploadQuery};
use nebula_storage::Store;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Database;
use crate::database::file as database;
use crate::domain::file;
use crate::error::{ApiError, DISK_FULL, TOO_LARGE, UNAVAILABLE};
use crate::files::upload::receive::{self, ReceiveError, Staged, UploadLimits};
use crate::files::upload::sniff::{self, ContentError, Kind};

/// How often the staging folder is searched for files of killed gateways.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Receives uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    database: Database,
    store: Store,
    /// Largest upload in bytes; without it only the disk is the limit.
    max_size: Option<u64>,
}

/// An upload before its body.
pub(crate) struct NewUpload {
    pub(crate) account_id: Uuid,
    pub(crate) query: UploadQuery,
    /// The header `Content-Length`.
    pub(crate) content_length: Option<u64>,
    pub(crate) address: Option<IpAddr>,
}

impl Uploads {
    pub(crate) fn new(database: Database, store: Store, max_size: Option<u64>) -> Self {
        Self { database, store, max_size }
    }

    /// Receives an upload; answers the file and whether it is new.
    pub(crate) async fn receive<E>(
        self: &Arc<Self>,
        upload: NewUpload,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(File, bool), ApiError> {
        let NewUpload { account_id, query, content_length, address } = upload;
        check_name(&query.name)?;
        let limits = UploadLimits { promised: content_length, max: self.max_size };
        self.refuse_by_size(&query.name, limits).await?;
        {
            let client = self.database.client().await?;
            database::require_member(&client, account_id, query.project_id).await?;
        }
        let staged = receive::receive(body, &self.store.staging(), limits)
            .await
            .map_err(|error| receive_error(&query.name, error))?;
        // The body is complete: from here on the upload is finished or undone, even if the client hangs up.
        let uploads = Arc::clone(self);
        let finishing = tokio::spawn(async move {
            let (staged, kind) = inspect(&query.name, staged).await?;
            uploads.store(account_id, &query, staged, kind, address).await
        });
        finishing.await.map_err(|error| ApiError::internal(&error))?
    }

    /// Refuses an upload whose announced size is not allowed or does not fit on the disk.
    async fn refuse_by_size(&self, name: &str, limits: UploadLimits) -> Result<(), ApiError> {
        let Some(promised) = limits.promised else { return Ok(()) };
        if promised == 0 {
            return Err(empty(name));
        }
        if let Some(max) = limits.max.filter(|max| promised > *max) {
            return Err(too_large(name, max));
        }
        let staging = self.store.staging();
        let free =
            spawn_blocking(move || rustix::fs::statvfs(&staging).map(|disk| disk.f_bavail * disk.f_frsize));
        match free.await.map_err(|error| ApiError::internal(&error))? {
            Ok(free) if promised > free => Err(disk_full()
                .hint(format!("{promised} bytes are needed, {free} are free: delete files or make room."))),
            Ok(_) => Ok(()),
            Err(error) => Err(ApiError::unavailable("storage", &error)),
        }
    }

    /// Moves the bytes into the store and inserts the row; answers the file and whether it is new.
    async fn store(
        &self,
        account_id: Uuid,
        query: &UploadQuery,
        staged: Staged,
        kind: Kind,
        address: Option<IpAddr>,
    ) -> Result<(File, bool), ApiError> {
        // Identifiers that grow with time keep the index of the table compact.
        let file_id = Uuid::now_v7();
        let key = format!("{}/original", file::storage_prefix(file_id));
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
        // Open files are locked, so no sweep deletes this one before it has left the staging folder.
        let (locked, path) = staged.file.into_parts();
        self.store.put_file(&key, &path).await?;
        // The file has moved; without `keep`, dropping the temporary path would delete a file of that name.
        path.keep().map_err(|error| ApiError::internal(&error))?;
        drop(locked);
        let recorded = self.record(account_id, &upload, address).await;
        if !matches!(recorded, Ok((_, true)) | Err(RecordError::Unknown(_)))
            && let Err(error) = self.store.delete(&key).await
        {
            tracing::error!(%key, %error, "the bytes of a refused upload are left in the store");
        }
        match recorded {
            Ok((file_id, created)) => Ok((file::find(&self.database, account_id, file_id).await?, created)),
            Err(RecordError::Refused(error)) => Err(error),
            Err(RecordError::Unknown(error)) => {
                tracing::error!(
                    %key,
                    "the connection to the database was lost while an upload was recorded: its bytes may be left over"
                );
                Err(error)
            }
        }
    }

    /// Inserts the row. If the connection breaks meanwhile, the database is asked whether the row is there.
    async fn record(
        &self,
        account_id: Uuid,
        upload: &database::Upload<'_>,
        address: Option<IpAddr>,
    ) -> Result<(Uuid, bool), RecordError> {
        let client = self.database.client().await.map_err(RecordError::Refused)?;
        match database::create(&client, account_id, upload, address).await {
            Ok(recorded) => Ok(recorded),
            Err(error) if error.meaning() == UNAVAILABLE => {
                drop(client);
                let again = async {
                    let client = self.database.client().await?;
                    database::list(&client, account_id, None, Some(upload.file_id)).await
                };
                match again.await {
                    Ok(found) if found.is_empty() => Err(RecordError::Refused(error)),
                    Ok(_) => Ok((upload.file_id, true)),
                    Err(_) => Err(RecordError::Unknown(error)),
                }
            }
            Err(error) => Err(RecordError::Refused(error)),
        }
    }
}

/// Why an upload was not recorded.
enum RecordError {
    /// There is no row.
    Refused(ApiError),
    /// There may be a row, so the bytes must stay.
    Unknown(ApiError),
}

/// The same rule as the database's, checked before gigabytes are sent for nothing.
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

fn empty(name: &str) -> ApiError {
    ApiError::bad_argument(format!("\"{name}\" is empty: 0 bytes arrived"))
        .hint("Send the bytes of the file as the body of the request.")
}

fn too_large(name: &str, max: u64) -> ApiError {
    ApiError::new(TOO_LARGE, format!("\"{name}\" is larger than the {max} bytes that are allowed"))
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
        ReceiveError::TooLarge { max } => too_large(name, max),
        ReceiveError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            disk_full().hint("Delete files or make room on the disk.")
        }
        ReceiveError::Disk(error) => ApiError::unavailable("storage", &error),
    }
}

/// Recognises the kind of the content, or refuses it.
async fn inspect(name: &str, mut staged: Staged) -> Result<(Staged, Kind), ApiError> {
    if staged.size == 0 {
        return Err(empty(name));
    }
    let owned = name.to_owned();
    let inspected = spawn_blocking(move || {
        let kind = sniff::inspect(&owned, staged.file.as_file_mut(), staged.size)?;
        Ok::<_, ContentError>((staged, kind))
    });
    inspected.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| match &error {
        ContentError::Read(error) => ApiError::unavailable("storage", error),
        _ => ApiError::bad_argument(error.to_string()).hint(error.hint()),
    })
}

/// Deletes files of killed gateways from the staging folder, now and every hour until `stopping` is
/// cancelled.
pub(crate) fn start_sweeping(staging: PathBuf, stopping: CancellationToken) {
    let sweeping = async move {
        loop {
            let folder = staging.clone();
            match spawn_blocking(move || receive::sweep(&folder)).await {
                Ok(Ok(0)) => {}
                Ok(Ok(count)) => tracing::info!(count, "deleted abandoned uploads from the staging folder"),
                Ok(Err(error)) => tracing::warn!(%error, "cannot clean the staging folder"),
                Err(error) => tracing::warn!(%error, "cannot clean the staging folder"),
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
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
