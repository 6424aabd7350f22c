//! Uploads in several requests: each appends at the offset where the last one ended, also after a lost
//! connection or a restart of the gateway. The last byte makes the file, on the way of every other upload.

use std::collections::HashMap;
use std::fs::File as DiskFile;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{FutureExt, Stream};
use nebula_api::file::{File, UploadQuery};
use openssl::hash::Hasher;
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use self::receive::{Limits, receive, too_long, verify};
use self::request::{Checksum, Part, Progress};
use super::{Uploads, disk_error};
use crate::database::Account;
use crate::database::file::Recorded;
use crate::error::{ABOVE_QUOTA, ApiError, LOCKED, NOT_PERMITTED, TOO_LARGE, WRONG_STATE};
use crate::files::upload::partial::{Appending, Duplicate, Folder, Hashed, LIFETIME, OpenError, Plan};
use crate::files::upload::receive::Staged;

mod admit;
mod join;
mod receive;
pub(crate) mod request;

/// How long a request waits for one that is to give way.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// Receives uploads in several requests.
#[derive(Debug)]
pub(crate) struct Resumable {
    uploads: Arc<Uploads>,
    folder: Folder,
    turns: Mutex<HashMap<Uuid, Arc<Turn>>>,
}

/// One request at a time works on an upload.
#[derive(Debug, Default)]
struct Turn {
    hashed: Arc<tokio::sync::Mutex<Hashed>>,
    /// Another request waits.
    asked: Notify,
}

impl Resumable {
    pub(crate) fn new(uploads: Arc<Uploads>) -> Self {
        let folder = Folder::of(&uploads.store.staging());
        Self { uploads, folder, turns: Mutex::default() }
    }

    /// Where an upload is. One whose bytes are all there is finished, if the gateway was killed before it
    /// could.
    pub(crate) async fn progress(
        self: &Arc<Self>,
        account: &Account,
        id: Uuid,
        address: Option<IpAddr>,
    ) -> Result<Progress, ApiError> {
        let plan = self.plan(account, id).await?;
        if let Some(size) = plan.file_id.and(plan.size) {
            return Ok(self.show(id, size, plan));
        }
        let (hashed, _) = self.turn(id).await?;
        let file = self.open(id).await?;
        let offset = length(&file)?;
        if plan.is_part || plan.size != Some(offset) {
            return Ok(self.show(id, offset, plan));
        }
        self.finish(account, id, plan, file, hashed, address).await
    }

    /// Appends bytes; the last ones make the file.
    pub(crate) async fn append<E>(
        self: &Arc<Self>,
        account: &Account,
        id: Uuid,
        part: Part,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Progress, ApiError> {
        let plan = self.plan(account, id).await?;
        if let Some(offset) = plan.file_id.and(plan.size) {
            check_offset(&part, offset)?;
            return Ok(self.show(id, offset, plan));
        }
        if !plan.parts.is_empty() {
            return Err(ApiError::new(NOT_PERMITTED, "an upload that joins others takes no bytes itself"));
        }
        let (mut hashed, turn) = self.turn(id).await?;
        let file = self.open(id).await?;
        let begin = length(&file)?;
        check_offset(&part, begin)?;
        let plan = self.sized(account, id, plan, &part).await?;
        let end = plan.size.or(self.uploads.max_size).unwrap_or(u64::MAX);
        let left = end.saturating_sub(begin);
        if part.length.is_some_and(|length| length > left) {
            return Err(too_long(&plan.name, end));
        }
        let coming = part.length.or(plan.size.map(|_| left)).unwrap_or(0);
        let end = end.min(self.room(account, id, &plan, begin, coming).await?);
        let body = self.compare_first(account, &plan, begin, body).await?;
        // Kept aside, so that damaged bytes can be taken back.
        let (before, kept) = (hashed.clone(), file.try_clone().map_err(|error| disk_error(&error))?);
        let hasher = |checksum: &Checksum| Hasher::new(checksum.digest);
        let checksum = part.checksum.as_ref().map(hasher).transpose();
        let appending = Appending {
            file,
            disk: self.uploads.disks.files().clone(),
            offset: begin,
            hashed: std::mem::take(&mut *hashed),
            checksum: checksum.map_err(|error| ApiError::internal(&error))?,
        };
        let limits = Limits { name: &plan.name, end, promised: part.length };
        let received = receive(body, &turn, appending, &limits).await;
        let received = received.and_then(|appending| verify(appending, part.checksum.as_ref()));
        let keep = received.is_ok() || part.checksum.is_none();
        let arrived = blocking(move || {
            if keep {
                kept.sync_data()?
            } else {
                kept.set_len(begin)?
            }
            Ok(kept.metadata()?.len())
        });
        self.count(id, &plan, arrived.await.map_err(|error| disk_error(&error))?).await;
        let appended = match received {
            Ok(appended) => appended,
            Err(error) => {
                // Hashes further than to the bytes that are kept would be wrong.
                *hashed = before;
                if plan.size.is_none() && error.meaning() == TOO_LARGE {
                    // Asks the quota, which is what bounds such an upload, so that its error names it.
                    self.room(account, id, &plan, end, 1).await?;
                }
                return Err(error);
            }
        };
        *hashed = appended.hashed;
        let plan = match plan.size {
            None if part.is_last => self.keep(id, Plan { size: Some(appended.offset), ..plan }).await?,
            _ => plan,
        };
        if plan.is_part || plan.size != Some(appended.offset) {
            return Ok(self.show(id, appended.offset, plan));
        }
        self.finish(account, id, plan, appended.file, hashed, part.address).await
    }

    async fn keep(&self, id: Uuid, plan: Plan) -> Result<Plan, ApiError> {
        let (folder, kept) = (self.folder.clone(), plan.clone());
        blocking(move || folder.write_plan(id, &kept)).await.map_err(|error| disk_error(&error))?;
        Ok(plan)
    }

    /// Ends an upload and deletes its bytes.
    pub(crate) async fn remove(&self, account: &Account, id: Uuid) -> Result<(), ApiError> {
        self.plan(account, id).await?;
        let _turn = self.turn(id).await?;
        self.forget(id).await
    }

    async fn forget(&self, id: Uuid) -> Result<(), ApiError> {
        let folder = self.folder.clone();
        blocking(move || folder.remove(id)).await.map_err(|error| disk_error(&error))?;
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.end(id).await;
        Ok(())
    }

    async fn plan(&self, account: &Account, id: Uuid) -> Result<Plan, ApiError> {
        let folder = self.folder.clone();
        let plan = blocking(move || folder.plan(id)).await.map_err(|error| disk_error(&error))?;
        plan.filter(|plan| plan.account_id == account.id).ok_or_else(|| unknown(id))
    }

    async fn open(&self, id: Uuid) -> Result<DiskFile, ApiError> {
        let folder = self.folder.clone();
        let opened =
            spawn_blocking(move || folder.open(id)).await.map_err(|error| ApiError::internal(&error))?;
        opened.map_err(|error| match error {
            OpenError::Locked => locked(),
            OpenError::Disk(error) if error.kind() == ErrorKind::NotFound => unknown(id),
            OpenError::Disk(error) => disk_error(&error),
        })
    }

    /// Waits for the request that works on the upload now, if that is silent; one that is not keeps it.
    async fn turn(&self, id: Uuid) -> Result<(OwnedMutexGuard<Hashed>, Arc<Turn>), ApiError> {
        let turn =
            Arc::clone(self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default());
        let hashed = Arc::clone(&turn.hashed);
        if let Ok(guard) = Arc::clone(&hashed).try_lock_owned() {
            // A question to the last one, which came too late, is none to this one.
            let _ = turn.asked.notified().now_or_never();
            return Ok((guard, turn));
        }
        turn.asked.notify_one();
        let guard = timeout(TURN_TIMEOUT, hashed.lock_owned()).await.map_err(|_| locked())?;
        Ok((guard, turn))
    }

    /// How long an upload is kept after its last byte.
    pub(crate) fn lifetime(&self) -> Duration {
        LIFETIME
    }

    pub(crate) fn expiry(&self, id: Uuid) -> SystemTime {
        self.folder.expiry(id)
    }

    fn show(&self, id: Uuid, offset: u64, plan: Plan) -> Progress {
        let Plan { size, metadata, file_id, duplicate, is_part, parts, .. } = plan;
        let expires_at = self.folder.expiry(id);
        Progress { offset, size, expires_at, metadata, file_id, duplicate, is_part, parts }
    }

    /// Makes the file in a task of its own, so that it is finished or undone even if the client hangs up.
    async fn finish(
        self: &Arc<Self>,
        account: &Account,
        id: Uuid,
        plan: Plan,
        file: DiskFile,
        hashed: OwnedMutexGuard<Hashed>,
        address: Option<IpAddr>,
    ) -> Result<Progress, ApiError> {
        let (resumable, account) = (Arc::clone(self), account.clone());
        let finishing = tokio::spawn(async move {
            match resumable.make_file(&account, id, &plan, file, hashed.clone(), address).await {
                Ok((made, duplicate)) => {
                    let plan = Plan { file_id: Some(made.file_id), duplicate, ..plan };
                    let (folder, noted) = (resumable.folder.clone(), plan.clone());
                    // The file is made; an upload that stays would be finished again and find it.
                    if let Err(error) = blocking(move || folder.finish(id, &noted)).await {
                        tracing::warn!(%id, %error, "cannot note that an upload is finished");
                    }
                    resumable.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    Ok(resumable.show(id, made.size.unsigned_abs(), plan))
                }
                // Refused for good: other bytes have the name now, or these are not what their name says.
                Err(error)
                    if (400..500).contains(&error.meaning().status) && error.meaning() != ABOVE_QUOTA =>
                {
                    resumable.forget(id).await?;
                    Err(error)
                }
                Err(error) => Err(error),
            }
        });
        finishing.await.map_err(|error| ApiError::internal(&error))?
    }

    async fn make_file(
        &self,
        account: &Account,
        id: Uuid,
        plan: &Plan,
        file: DiskFile,
        hashed: Hashed,
        address: Option<IpAddr>,
    ) -> Result<(File, Option<Duplicate>), ApiError> {
        let mut query = query(plan);
        // While the database is away nothing is moved.
        self.uploads.check_name_and_rights(account, &mut query, plan.size).await?;
        let (folder, size) = (self.folder.clone(), length(&file)?);
        let staged = blocking(move || {
            let mut file = file;
            let sha256 = hashed.finish(&mut file)?;
            let path: PathBuf = folder.link(id)?;
            Ok(Staged { file: NamedTempFile::from_parts(file, TempPath::try_from_path(path)?), size, sha256 })
        });
        let staged = staged.await.map_err(|error| disk_error(&error))?;
        let ended: Vec<Uuid> = plan.parts.iter().copied().chain([id]).collect();
        let (file, recorded) = self.uploads.finish(account, &query, staged, &ended, address).await?;
        let duplicate = match recorded {
            Recorded { is_new: false, .. } => Some(Duplicate::File),
            Recorded { has_bytes: false, .. } => Some(Duplicate::Content),
            Recorded { .. } => None,
        };
        Ok((file, duplicate))
    }
}

async fn blocking<T: Send + 'static>(task: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(task).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn length(file: &DiskFile) -> Result<u64, ApiError> {
    file.metadata().map(|metadata| metadata.len()).map_err(|error| disk_error(&error))
}

/// The file that an upload is to become, as it was asked for.
fn query(plan: &Plan) -> UploadQuery {
    let (folder, name, sha256) = (plan.folder.clone(), plan.name.clone(), plan.sha256.clone());
    UploadQuery { project_id: plan.project_id, folder, name, sha256 }
}

fn check_offset(part: &Part, offset: u64) -> Result<(), ApiError> {
    if part.offset == offset {
        return Ok(());
    }
    Err(ApiError::new(WRONG_STATE, format!("the upload goes on at byte {offset}, not {}", part.offset))
        .hint("HEAD says where it goes on."))
}

fn unknown(id: Uuid) -> ApiError {
    ApiError::not_found(format!("there is no upload {id}"))
        .hint("It has expired or was ended; begin another one: POST /api/uploads.")
}

fn locked() -> ApiError {
    ApiError::new(LOCKED, "another request is writing this upload").hint("Try again in a moment.")
}
