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
use futures::{FutureExt, Stream, StreamExt};
use nebula_api::file::{File, UploadQuery};
use openssl::hash::{Hasher, MessageDigest};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Uploads, disk_error, receive_error};
use crate::database::file::Recorded;
use crate::error::{ABOVE_QUOTA, ApiError, CHECKSUM, LOCKED, QUOTA, TOO_LARGE, WRONG_STATE};
use crate::files::upload::partial::{Appending, Duplicate, Folder, Hashed, OpenError, Plan};
use crate::files::upload::receive::{BATCH_SIZE, ReceiveError, Staged};

/// A request that is asked to give way does so after this much silence: its client has lost the connection,
/// and comes again on another.
const GIVE_WAY: Duration = Duration::from_secs(2);
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

/// Where an upload is.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) expires_at: SystemTime,
    pub(crate) metadata: Option<String>,
    /// The file that it has become.
    pub(crate) file_id: Option<Uuid>,
    pub(crate) duplicate: Option<Duplicate>,
}

/// A new upload.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) id: Uuid,
    /// A file of this name and size, whose bytes may be the same: the client can compare checksums before it
    /// sends them.
    pub(crate) same_name: Option<Uuid>,
    /// Set if nothing has to be sent: the announced checksum is that of the file.
    pub(crate) progress: Option<Progress>,
}

/// The checksum of the bytes of one request.
pub(crate) struct Checksum {
    digest: MessageDigest,
    expected: Vec<u8>,
}

impl Checksum {
    pub(crate) fn new(algorithm: &str, expected: Vec<u8>) -> Option<Self> {
        let digest = match algorithm {
            "sha1" => MessageDigest::sha1(),
            "sha256" => MessageDigest::sha256(),
            "md5" => MessageDigest::md5(),
            _ => return None,
        };
        Some(Self { digest, expected })
    }
}

/// Bytes for an upload.
pub(crate) struct Part {
    /// Where they begin, as the client believes.
    pub(crate) offset: u64,
    pub(crate) length: Option<u64>,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) address: Option<IpAddr>,
}

impl Resumable {
    pub(crate) fn new(uploads: Arc<Uploads>) -> Self {
        let folder = Folder::of(&uploads.store.staging());
        Self { uploads, folder, turns: Mutex::default() }
    }

    /// Begins an upload, for which all is checked that needs none of its bytes.
    pub(crate) async fn create(
        &self,
        account_id: Uuid,
        mut query: UploadQuery,
        size: u64,
        metadata: Option<String>,
    ) -> Result<Begun, ApiError> {
        let known = self.uploads.admit(account_id, &mut query, Some(size)).await?.known;
        let UploadQuery { project_id, folder, name, sha256 } = query;
        let same_name = known.map(|known| known.file_id);
        let file_id = same_name.filter(|_| sha256.is_some());
        let duplicate = file_id.map(|_| Duplicate::File);
        let plan = Plan { account_id, project_id, folder, name, size, sha256, metadata, file_id, duplicate };
        let (id, uploads, kept) = (Uuid::new_v4(), self.folder.clone(), plan.clone());
        let create = move || {
            uploads.create(id, &kept)?;
            if kept.file_id.is_some() { uploads.finish(id, &kept) } else { Ok(()) }
        };
        blocking(create).await.map_err(|error| disk_error(&error))?;
        let progress = file_id.map(|_| self.show(id, size, plan));
        Ok(Begun { id, same_name, progress })
    }

    /// Where an upload is. One whose bytes are all there is finished, if the gateway was killed before it
    /// could.
    pub(crate) async fn progress(
        self: &Arc<Self>,
        account_id: Uuid,
        id: Uuid,
        address: Option<IpAddr>,
    ) -> Result<Progress, ApiError> {
        let plan = self.plan(account_id, id).await?;
        if plan.file_id.is_some() {
            return Ok(self.show(id, plan.size, plan));
        }
        let (hashed, _) = self.turn(id).await?;
        let file = self.open(id).await?;
        let offset = length(&file)?;
        if offset < plan.size {
            return Ok(self.show(id, offset, plan));
        }
        self.finish(id, plan, file, hashed, address).await
    }

    /// Appends bytes; the last ones make the file.
    pub(crate) async fn append<E>(
        self: &Arc<Self>,
        account_id: Uuid,
        id: Uuid,
        part: Part,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Progress, ApiError> {
        let plan = self.plan(account_id, id).await?;
        if let Some(offset) = plan.file_id.map(|_| plan.size) {
            check_offset(&part, offset)?;
            return Ok(self.show(id, offset, plan));
        }
        let (mut hashed, turn) = self.turn(id).await?;
        let file = self.open(id).await?;
        let begin = length(&file)?;
        check_offset(&part, begin)?;
        let left = plan.size.saturating_sub(begin);
        if part.length.is_some_and(|length| length > left) {
            return Err(too_long(&plan));
        }
        self.uploads.disks.refuse_upload(Some(part.length.unwrap_or(left))).await?;
        // Others may have used up the quota since the upload began.
        if let Err(error) = self.uploads.room(account_id, &query_of(&plan), Some(plan.size)).await
            // Bytes come also while the database is away.
            && matches!(error.meaning(), QUOTA | ABOVE_QUOTA)
        {
            return Err(error);
        }
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
        let received = receive(body, &turn, appending, (&plan, part.length)).await;
        let received = received.and_then(|appending| verify(appending, part.checksum.as_ref()));
        let keep = received.is_ok() || part.checksum.is_none();
        blocking(move || if keep { kept.sync_data() } else { kept.set_len(begin) })
            .await
            .map_err(|error| disk_error(&error))?;
        let appended = match received {
            Ok(appended) => appended,
            Err(error) => {
                // Hashes further than to the bytes that are kept would be wrong.
                *hashed = before;
                return Err(error);
            }
        };
        *hashed = appended.hashed;
        if appended.offset < plan.size {
            return Ok(self.show(id, appended.offset, plan));
        }
        self.finish(id, plan, appended.file, hashed, part.address).await
    }

    /// Ends an upload and deletes its bytes.
    pub(crate) async fn remove(&self, account_id: Uuid, id: Uuid) -> Result<(), ApiError> {
        self.plan(account_id, id).await?;
        let _turn = self.turn(id).await?;
        self.forget(id).await
    }

    async fn forget(&self, id: Uuid) -> Result<(), ApiError> {
        let folder = self.folder.clone();
        blocking(move || folder.remove(id)).await.map_err(|error| disk_error(&error))?;
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    async fn plan(&self, account_id: Uuid, id: Uuid) -> Result<Plan, ApiError> {
        let folder = self.folder.clone();
        let plan = blocking(move || folder.plan(id)).await.map_err(|error| disk_error(&error))?;
        plan.filter(|plan| plan.account_id == account_id).ok_or_else(|| unknown(id))
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

    pub(crate) fn expiry(&self, id: Uuid) -> SystemTime {
        self.folder.expiry(id)
    }

    fn show(&self, id: Uuid, offset: u64, plan: Plan) -> Progress {
        let Plan { size, metadata, file_id, duplicate, .. } = plan;
        Progress { offset, size, expires_at: self.folder.expiry(id), metadata, file_id, duplicate }
    }

    /// Makes the file in a task of its own, so that it is finished or undone even if the client hangs up.
    async fn finish(
        self: &Arc<Self>,
        id: Uuid,
        plan: Plan,
        file: DiskFile,
        hashed: OwnedMutexGuard<Hashed>,
        address: Option<IpAddr>,
    ) -> Result<Progress, ApiError> {
        let resumable = Arc::clone(self);
        let finishing = tokio::spawn(async move {
            match resumable.make_file(id, &plan, file, hashed.clone(), address).await {
                Ok((made, duplicate)) => {
                    let plan = Plan { file_id: Some(made.file_id), duplicate, ..plan };
                    let (folder, noted) = (resumable.folder.clone(), plan.clone());
                    // The file is made; an upload that stays would be finished again and find it.
                    if let Err(error) = blocking(move || folder.finish(id, &noted)).await {
                        tracing::warn!(%id, %error, "cannot note that an upload is finished");
                    }
                    resumable.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    Ok(resumable.show(id, plan.size, plan))
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
        id: Uuid,
        plan: &Plan,
        file: DiskFile,
        hashed: Hashed,
        address: Option<IpAddr>,
    ) -> Result<(File, Option<Duplicate>), ApiError> {
        let mut query = query_of(plan);
        // While the database is away nothing is moved.
        self.uploads.check_name_and_rights(plan.account_id, &mut query, Some(plan.size)).await?;
        let (folder, size) = (self.folder.clone(), plan.size);
        let staged = blocking(move || {
            let mut file = file;
            let sha256 = hashed.finish(&mut file)?;
            let path: PathBuf = folder.link(id)?;
            Ok(Staged { file: NamedTempFile::from_parts(file, TempPath::try_from_path(path)?), size, sha256 })
        });
        let staged = staged.await.map_err(|error| disk_error(&error))?;
        let (file, recorded) = self.uploads.finish(plan.account_id, &query, staged, address).await?;
        let duplicate = match recorded {
            Recorded { is_new: false, .. } => Some(Duplicate::File),
            Recorded { has_bytes: false, .. } => Some(Duplicate::Content),
            Recorded { .. } => None,
        };
        Ok((file, duplicate))
    }
}

/// The upload as one whose bytes come in a single request.
fn query_of(plan: &Plan) -> UploadQuery {
    let Plan { project_id, folder, name, sha256, .. } = plan;
    UploadQuery {
        project_id: *project_id,
        folder: folder.clone(),
        name: name.clone(),
        sha256: sha256.clone(),
    }
}

/// Writes a body to the end of an upload. What came before an error is kept.
async fn receive<E>(
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    turn: &Turn,
    appending: Appending,
    (plan, promised): (&Plan, Option<u64>),
) -> Result<Appending, ApiError> {
    let (begin, mut end, mut failure) = (appending.offset, appending.offset, None);
    let mut writing = spawn_blocking(move || Ok(appending));
    let (mut batch, mut batch_size, mut is_asked) = (Vec::new(), 0, false);
    let interrupted = |end| ReceiveError::Interrupted { arrived: end - begin, promised };
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.next() => chunk,
            () = turn.asked.notified(), if !is_asked => {
                is_asked = true;
                continue;
            }
            () = sleep(GIVE_WAY), if is_asked => {
                failure = Some(receive_error(&plan.name, interrupted(end)));
                break;
            }
        };
        let Some(chunk) = chunk else { break };
        let Ok(chunk) = chunk else {
            failure = Some(receive_error(&plan.name, interrupted(end)));
            break;
        };
        if end + chunk.len() as u64 > plan.size {
            failure = Some(too_long(plan));
            break;
        }
        end += chunk.len() as u64;
        batch_size += chunk.len();
        batch.push(chunk);
        if batch_size >= BATCH_SIZE {
            let written = written(&plan.name, writing).await?;
            let full = std::mem::take(&mut batch);
            batch_size = 0;
            writing = spawn_blocking(move || written.write(full));
        }
    }
    let appending = written(&plan.name, writing).await?;
    let appending = written(&plan.name, spawn_blocking(move || appending.write(batch))).await?;
    failure.map_or(Ok(appending), Err)
}

async fn written(
    name: &str,
    writing: tokio::task::JoinHandle<Result<Appending, ReceiveError>>,
) -> Result<Appending, ApiError> {
    let written = writing.await.map_err(|error| ApiError::internal(&error))?;
    written.map_err(|error| receive_error(name, error))
}

fn verify(mut appending: Appending, expected: Option<&Checksum>) -> Result<Appending, ApiError> {
    if let (Some(hasher), Some(expected)) = (&mut appending.checksum, expected) {
        let digest = hasher.finish().map_err(|error| ApiError::internal(&error))?;
        if *digest != *expected.expected {
            return Err(ApiError::new(CHECKSUM, "the bytes were damaged on the way: their checksum differs")
                .hint("Send them again, from the same offset."));
        }
    }
    Ok(appending)
}

async fn blocking<T: Send + 'static>(task: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(task).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn length(file: &DiskFile) -> Result<u64, ApiError> {
    file.metadata().map(|metadata| metadata.len()).map_err(|error| disk_error(&error))
}

fn check_offset(part: &Part, offset: u64) -> Result<(), ApiError> {
    if part.offset == offset {
        return Ok(());
    }
    Err(ApiError::new(WRONG_STATE, format!("the upload goes on at byte {offset}, not {}", part.offset))
        .hint("HEAD says where it goes on."))
}

fn too_long(plan: &Plan) -> ApiError {
    let detail = format!("more bytes came than the {} that \"{}\" is to have", plan.size, plan.name);
    ApiError::new(TOO_LARGE, detail).hint("Begin another upload with the right Upload-Length.")
}

fn unknown(id: Uuid) -> ApiError {
    ApiError::not_found(format!("there is no upload {id}"))
        .hint("It has expired or was ended; begin another one: POST /api/uploads.")
}

fn locked() -> ApiError {
    ApiError::new(LOCKED, "another request is writing this upload").hint("Try again in a moment.")
}
