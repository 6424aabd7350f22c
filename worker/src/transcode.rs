//! The job kind `transcode`: makes an MP4 that browsers stream from an uploaded file. Joins queue, store and
//! media.

mod digest;
mod download;
mod rendition;
mod room;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use nebula_storage::{Disk, Store, StoreError, is_no_room};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::child::Launcher;
use crate::media::{MediaError, Progress, Summary};
use crate::queue::{Context, Failure, Handler, Job, Outcome, Retry, Stop};
use crate::scratch::Scratch;
use digest::{Digest, digest};
use rendition::Rendition;
use room::{TakenRoom, WorkRoom};

/// Name of the kind in the queue.
pub(crate) const KIND: &str = "transcode";
/// Share of the progress bar that the conversion takes; hashing and storing take the rest.
const CONVERT_SHARE: f32 = 0.96;
/// Progress when the output is hashed and about to be stored.
const STORE_PROGRESS: f32 = 0.98;

/// Does `transcode` jobs.
pub(crate) struct Transcode {
    store: Store,
    scratch: Scratch,
    room: WorkRoom,
    launcher: Launcher,
}

/// The part of the payload that the worker needs; the gateway adds more for people.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    /// Jobs of 0.2.0 name it by the file.
    #[serde(alias = "fileId")]
    content_id: Uuid,
    /// Key of the upload in the store.
    key: String,
}

impl Transcode {
    /// Reads from and writes to `store`; unfinished files lie in `scratch`, on `disk`.
    pub(crate) fn new(store: Store, scratch: Scratch, disk: Disk, launcher: Launcher) -> Self {
        // The key only asks whether the store is a folder.
        let of_store = store.local_path("files").map(|_| Disk::new(store.staging(), disk.reserve()));
        Self { store, scratch, room: WorkRoom::new(disk, of_store), launcher }
    }

    async fn work(&self, job: &Job, context: &Context) -> Result<Outcome, Failure> {
        let payload = Payload::deserialize(&job.payload).map_err(|error| {
            Failure::permanent(format!("the payload of job {} cannot be read: {error}", job.id))
        })?;
        let size = self.store.size(&payload.key).await?;
        // In a bucket the upload has to be copied first.
        let copy = if self.store.local_path(&payload.key).is_some() { 0 } else { size };
        let room = self.room.take(job.id, copy, size).await?;
        store::delete_earlier(&self.store, payload.content_id, job).await?;
        let folder = self.scratch.folder().map_err(|error| io_failure("make a scratch folder", &error))?;
        let output = folder.path().join("out").join("web.mp4");
        let (summary, digest) = tokio::select! {
            converted = self.convert(&payload, size, folder.path(), &output, &room, context) => converted?,
            Err(failure) = self.room.watch() => {
                room.learn(output.metadata().map_or(0, |written| written.len()), context.progress());
                return Err(failure);
            }
            reason = context.stopped() => return Err(stopped(reason)),
        };
        context.report(STORE_PROGRESS, json!({"stage": "store"}));
        let key = store::output_key(payload.content_id, job.id, job.attempt);
        self.room.check_store(digest.size.unsigned_abs()).await?;
        store::put(&self.store, &key, &output, context).await?;
        room.forget();
        let (size, warnings) = (digest.size, summary.warnings.len());
        tracing::info!(job = job.id, key, size, decision = %summary.decision, warnings, "stored");
        let rendition = Rendition::web(self.store.clone(), payload.content_id, key, digest, &summary);
        Ok(Outcome { result: rendition.detail.clone(), record: Some(Box::new(rendition)) })
    }

    /// Converts the upload into `output` in a child process, and hashes the output.
    async fn convert(
        &self,
        payload: &Payload,
        size: u64,
        folder: &Path,
        output: &Path,
        room: &TakenRoom<'_>,
        context: &Context,
    ) -> Result<(Summary, Digest), Failure> {
        // The child may write in the folder of the output only, so the input must lie elsewhere.
        std::fs::create_dir(folder.join("out"))
            .map_err(|error| io_failure("make a scratch folder", &error))?;
        let input = self.input(payload, size, folder, context).await?;
        let started = Instant::now();
        let report = |progress: Progress| report_progress(context, &progress, started);
        let converted = self.launcher.convert(&input, output, Some(room.output_limit), report).await;
        if converted.as_ref().is_err_and(|error| error.no_room) {
            room.learn(output.metadata().map_or(0, |written| written.len()), context.progress());
        }
        let summary = converted?;
        context.report(CONVERT_SHARE, json!({"stage": "hash"}));
        Ok((summary, digest(output.to_owned()).await?))
    }

    /// Path of the upload: in the store when that is a folder, else of a downloaded copy.
    async fn input(
        &self,
        payload: &Payload,
        size: u64,
        folder: &Path,
        context: &Context,
    ) -> Result<PathBuf, Failure> {
        if let Some(path) = self.store.local_path(&payload.key) {
            return Ok(path);
        }
        context.report(0.0, json!({"stage": "download"}));
        let path = folder.join("input");
        download::download(&self.store, &payload.key, size, &path).await?;
        Ok(path)
    }
}

impl Handler for Transcode {
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
        Box::pin(async move { self.work(&job, &context).await })
    }
}

/// Passes the child's progress on, with an estimate of the time left.
fn report_progress(context: &Context, progress: &Progress, started: Instant) {
    let done = progress.progress;
    let left = started.elapsed().as_secs_f32() * (1.0 - done) / done;
    // At the very start the speed so far says nothing about the rest.
    let eta = (done > 0.01).then(|| left.round());
    let detail = json!({"stage": progress.stage, "fps": progress.fps, "etaSeconds": eta});
    context.report(done * CONVERT_SHARE, detail);
}

/// The error of a job that was told to stop; the queue replaces the text by its own reason.
fn stopped(reason: Stop) -> Failure {
    Failure::transient(format!("stopped: {reason:?}"))
}

fn io_failure(action: &str, error: &std::io::Error) -> Failure {
    let message = format!("cannot {action}: {error}");
    if is_no_room(error) {
        room::waits(format!("waits for room: {message}"))
    } else {
        Failure::transient(message)
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError { message, no_room: true, .. } => room::waits(format!("waits for room: {message}")),
            MediaError { message, permanent: true, .. } => Self::permanent(message),
            MediaError { message, .. } => Self::transient(message),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // A missing object does not come back and an invalid key stays invalid; a store that is full or
        // cannot be reached is at fault itself, so the job waits for it.
        let retry = match &error {
            StoreError::NotFound(_) | StoreError::Key(_) => Retry::Never,
            error if error.is_no_room() || error.is_outage() => Retry::Uncounted,
            _ => Retry::Counted,
        };
        let waits_for = match retry {
            Retry::Uncounted if error.is_no_room() => "waits for room: ",
            Retry::Uncounted => "waits for the storage: ",
            _ => "",
        };
        Self { error: format!("{waits_for}{error}"), retry }
    }
}
