//! Uploads: `POST /api/files` with the bytes as its body.
//!
//! The steps, in an order that shows nothing half done: check that the caller may upload at all and that
//! there is room; receive the body into a staging file, hashing it on the way; check its content; move it
//! into the store; insert the row that makes it a file. A step that fails undoes those before it;
//! [`super::leftovers`] undoes those of a gateway that was killed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use nebula_api::file::{File, UploadQuery};
use nebula_api::file_name;
use nebula_media_kind::{ContentError, Kind};
use nebula_storage::{Store, is_no_room};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::database::Account;
use crate::database::Database;
use crate::database::file::{self as database, NamedFile, Recorded};
use crate::database::quota;
use crate::domain::disks::{self, Disks};
use crate::domain::file;
use crate::error::{ApiError, CONFLICT, TOO_LARGE, UNAVAILABLE};
use crate::files::marker::Marker;
use crate::files::upload::receive::{self, ReceiveError, Staged, UploadLimits};

mod known_bytes;
pub(crate) mod resumable;

/// How long an upload that has arrived waits for a database that is away, and how long between tries.
const RECORD_TIMEOUT: Duration = Duration::from_secs(90);
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

/// Receives uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    database: Database,
    store: Store,
    disks: Arc<Disks>,
    /// Largest upload in bytes; without it only the disk is the limit.
    max_size: Option<u64>,
}

/// Answers about an upload before its body.
pub(crate) struct Admission {
    /// The file of this name, which may have the same bytes; with a checksum in the query it has them.
    known: Option<NamedFile>,
    /// Bytes that quotas leave to it; `None`: any number.
    room: Option<u64>,
}

/// An upload before its body.
pub(crate) struct NewUpload {
    pub(crate) account: Account,
    pub(crate) query: UploadQuery,
    /// The header `Content-Length`.
    pub(crate) content_length: Option<u64>,
    pub(crate) address: Option<IpAddr>,
}

impl Uploads {
    pub(crate) fn new(database: Database, store: Store, disks: Arc<Disks>, max_size: Option<u64>) -> Self {
        Self { database, store, disks, max_size }
    }

    /// Receives an upload; answers the file and whether it is new.
    pub(crate) async fn receive<E>(
        self: &Arc<Self>,
        upload: NewUpload,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(File, bool), ApiError> {
        let NewUpload { account, mut query, content_length, address } = upload;
        let Admission { known, room } = self.admit(&account, &mut query, content_length).await?;
        let max = self.max_size.into_iter().chain(room).min();
        let limits = UploadLimits { promised: content_length, max };
        let body = match known {
            Some(known) if query.sha256.is_some() => {
                return Ok((file::find(&self.database, &account, known.file_id).await?, false));
            }
            Some(known) => known_bytes::compare(&self.store, &query.name, &known, body).await?,
            None => (VecDeque::new(), body),
        };
        let body = known_bytes::joined(body);
        let staged = match receive::receive(body, self.disks.files(), limits).await {
            Ok(staged) => staged,
            Err(ReceiveError::TooLarge { max }) if room == Some(max) => {
                self.room(&account, &query, Some(max + 1)).await?;
                // Room was made meanwhile, and the rest of the body is not read.
                return Err(receive_error(&query.name, ReceiveError::TooLarge { max }));
            }
            Err(error) => return Err(receive_error(&query.name, error)),
        };
        // The body is complete: from here on the upload is finished or undone, even if the client hangs up.
        let uploads = Arc::clone(self);
        let finishing =
            tokio::spawn(async move { uploads.finish(&account, &query, staged, &[], address).await });
        let (file, recorded) = finishing.await.map_err(|error| ApiError::internal(&error))??;
        Ok((file, recorded.is_new))
    }

    /// The checks that need no byte of an upload: its name, its size, the room there is, the caller's rights,
    /// whether the name is taken, and whether quotas leave room. Composes the name.
    pub(crate) async fn admit(
        &self,
        account: &Account,
        query: &mut UploadQuery,
        content_length: Option<u64>,
    ) -> Result<Admission, ApiError> {
        let known = self.admit_name(account, query, content_length).await?;
        // A retry of what is there already needs none.
        let room = match &known {
            Some(_) => None,
            None => self.room(account, query, content_length).await?,
        };
        Ok(Admission { known, room })
    }

    /// The same without the quotas; answers the file of this name, which may have the same bytes.
    async fn admit_name(
        &self,
        account: &Account,
        query: &mut UploadQuery,
        size: Option<u64>,
    ) -> Result<Option<NamedFile>, ApiError> {
        self.refuse_by_size(&query.name, size).await?;
        self.check_name_and_rights(account, query, size).await
    }

    /// Bytes that quotas leave to an upload; `None`: any number. Fails with 507 or 413 if it does not fit.
    async fn room(
        &self,
        account: &Account,
        query: &UploadQuery,
        size: Option<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let sha256 = query.sha256.as_deref().map(checksum).transpose()?;
        let client = self.database.client().await?;
        quota::room(&client, account, query.project_id, size, sha256).await
    }

    /// The checks of the name and of the caller's rights.
    async fn check_name_and_rights(
        &self,
        account: &Account,
        query: &mut UploadQuery,
        content_length: Option<u64>,
    ) -> Result<Option<NamedFile>, ApiError> {
        query.name = file_name::composed(&query.name);
        query.folder = file_name::composed(&query.folder);
        file::check_name(&query.name)?;
        file::check_folder(&query.folder)?;
        let sha256 = query.sha256.as_deref().map(checksum).transpose()?;
        let client = self.database.client().await?;
        let known = database::named(&client, account, query).await?;
        let may_be_same = |known: &NamedFile| {
            content_length.is_none_or(|size| size == known.size)
                && sha256.as_ref().is_none_or(|sha256| *sha256 == *known.sha256)
        };
        match known {
            Some(known) if !may_be_same(&known) => Err(taken(&query.name)),
            known => Ok(known),
        }
    }

    /// Makes a file of bytes that have arrived, with which uploads may end; answers it and whether it and its
    /// bytes are new.
    async fn finish(
        &self,
        account: &Account,
        query: &UploadQuery,
        staged: Staged,
        ended: &[Uuid],
        address: Option<IpAddr>,
    ) -> Result<(File, Recorded), ApiError> {
        check_arrived(query, &staged.sha256)?;
        let (staged, kind) = inspect(&query.name, staged).await?;
        // Identifiers that grow with time keep the index of the table compact.
        let file_id = Uuid::now_v7();
        let key = format!("{}/original", file::storage_prefix(file_id));
        let upload = database::Upload {
            file_id,
            project_id: query.project_id,
            folder: &query.folder,
            name: &query.name,
            size: staged.size,
            sha256: &staged.sha256,
            content_type: kind.content_type,
            storage_key: &key,
            media: kind.media,
            ended,
        };
        self.store(account, &upload, staged.file, address).await
    }

    /// Largest upload in bytes, if there is a limit.
    pub(crate) fn max_size(&self) -> Option<u64> {
        self.max_size
    }

    /// Refuses an upload whose announced size is not allowed, or for which there is no room.
    async fn refuse_by_size(&self, name: &str, announced: Option<u64>) -> Result<(), ApiError> {
        if announced == Some(0) {
            return Err(empty(name));
        }
        if let Some(max) = self.max_size.filter(|max| announced.is_some_and(|size| size > *max)) {
            return Err(too_large(name, max));
        }
        self.disks.refuse_upload(announced).await
    }

    /// Moves the bytes into the store and inserts the row.
    async fn store(
        &self,
        account: &Account,
        upload: &database::Upload<'_>,
        staged: NamedTempFile,
        address: Option<IpAddr>,
    ) -> Result<(File, Recorded), ApiError> {
        let key = upload.storage_key;
        let marker = Marker::create(&self.store, upload.file_id).await.map_err(|error| disk_error(&error))?;
        // Open files are locked, so no sweep deletes this one before it has left the staging folder.
        let (locked, path) = staged.into_parts();
        if let Err(error) = self.store.put_file(key, &path).await {
            marker.settled().await;
            return Err(error.into());
        }
        // The file has moved; without `keep`, dropping the temporary path would delete a file of that name.
        path.keep().map_err(|error| ApiError::internal(&error))?;
        drop(locked);
        let recorded = self.record(account, upload, address, &marker).await;
        if let Err(RecordError::Unknown(error)) = recorded {
            tracing::error!(
                %key,
                "the database went away while an upload was recorded: its bytes are kept until it can be asked"
            );
            return Err(error);
        }
        if !recorded.as_ref().is_ok_and(|recorded| recorded.has_bytes)
            && let Err(error) = self.store.delete(key).await
        {
            tracing::error!(%key, %error, "bytes that no file has are left in the store");
        } else {
            marker.settled().await;
        }
        match recorded {
            Ok(recorded) => Ok((file::find(&self.database, account, recorded.file_id).await?, recorded)),
            Err(RecordError::Refused(error) | RecordError::Unknown(error)) => Err(error),
        }
    }

    /// Inserts the row. While the database is away it is asked again: the bytes have arrived, and sending
    /// them once more may take hours.
    async fn record(
        &self,
        account: &Account,
        upload: &database::Upload<'_>,
        address: Option<IpAddr>,
        marker: &Marker,
    ) -> Result<Recorded, RecordError> {
        let started = Instant::now();
        // A statement was sent and its answer is not known, so there may be a row.
        let mut is_uncertain = false;
        loop {
            let error = match self.database.client().await {
                Ok(client) => {
                    marker.renew();
                    match database::create(&client, account, upload, address).await {
                        // A row of this identifier that was there before was made by an earlier try.
                        Ok(recorded) => {
                            let is_new = recorded.is_new || recorded.file_id == upload.file_id;
                            return Ok(Recorded { is_new, ..recorded });
                        }
                        Err(error) if error.meaning() == UNAVAILABLE => {
                            is_uncertain = true;
                            error
                        }
                        Err(error) => return Err(RecordError::Refused(error)),
                    }
                }
                Err(error) => error,
            };
            if started.elapsed() < RECORD_TIMEOUT {
                sleep(RECORD_INTERVAL).await;
            } else if is_uncertain {
                return Err(RecordError::Unknown(error));
            } else {
                return Err(RecordError::Refused(error));
            }
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

/// A checksum as a client writes it.
fn checksum(text: &str) -> Result<[u8; 32], ApiError> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        ApiError::bad_argument("sha256 is no SHA-256")
            .field("sha256")
            .hint("It has 64 hexadecimal digits, as sha256sum prints it.")
    })
}

/// The refusal of a name that other bytes have, in the words of the database.
fn taken(name: &str) -> ApiError {
    ApiError::new(CONFLICT, format!("a file named \"{name}\" with other content exists in the project"))
        .hint("Upload under another name, or delete the old one first.")
}

/// Refuses bytes that are not those that the client has announced.
fn check_arrived(query: &UploadQuery, sha256: &[u8; 32]) -> Result<(), ApiError> {
    match query.sha256.as_deref().map(checksum).transpose()? {
        Some(announced) if announced != *sha256 => {
            let detail =
                format!("\"{}\" was damaged on the way: its SHA-256 is not the announced one", query.name);
            Err(ApiError::bad_argument(detail).hint("Upload it again."))
        }
        _ => Ok(()),
    }
}

fn empty(name: &str) -> ApiError {
    ApiError::bad_argument(format!("\"{name}\" is empty: 0 bytes arrived"))
        .hint("Upload one that has content; in HTTP it is the body of the request.")
}

fn too_large(name: &str, max: u64) -> ApiError {
    ApiError::new(TOO_LARGE, format!("\"{name}\" is larger than the {max} bytes that are allowed"))
        .hint("The administrator sets the limit with NEBULA_MAX_UPLOAD.")
}

fn disk_error(error: &std::io::Error) -> ApiError {
    if is_no_room(error) { ApiError::no_room(error) } else { ApiError::unavailable("storage", error) }
}

fn receive_error(name: &str, error: ReceiveError) -> ApiError {
    match error {
        ReceiveError::Interrupted { .. } => {
            ApiError::bad_argument(format!("\"{name}\": {error}")).hint("Upload it again.")
        }
        ReceiveError::TooLarge { max } => too_large(name, max),
        ReceiveError::NoRoom(refusal) => disks::refuse(&refusal),
        ReceiveError::Disk(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            ApiError::new(TOO_LARGE, format!("\"{name}\" is larger than any file on the storage can be"))
                .hint("The file system of the storage sets this limit; split the file.")
        }
        ReceiveError::Disk(error) => disk_error(&error),
    }
}

/// Recognises the kind of the content, or refuses it.
async fn inspect(name: &str, mut staged: Staged) -> Result<(Staged, Kind), ApiError> {
    if staged.size == 0 {
        return Err(empty(name));
    }
    let owned = name.to_owned();
    let inspected = spawn_blocking(move || {
        let kind = nebula_media_kind::inspect(&owned, staged.file.as_file_mut(), staged.size)?;
        Ok::<_, ContentError>((staged, kind))
    });
    inspected.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| match &error {
        ContentError::Read(error) => ApiError::unavailable("storage", error),
        _ => ApiError::bad_argument(error.to_string()).hint(error.hint()),
    })
}
