//! The job kind `transcode`: from an uploaded file to an MP4 that browsers stream; joins queue, store and media.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use nebula_storage::{Store, StoreError};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use uuid::Uuid;

use crate::child::Launcher;
use crate::media::{MediaError, Progress, Summary};
use crate::queue::{Context, Failure, Handler, Job, Outcome, Stop};
use crate::rendition::Rendition;
use crate::scratch::Scratch;

/// The kind's name in the queue.
pub const KIND: &str = "transcode";
/// The share of the progress that converting is; the rest is hashing and storing.
const CONVERTING: f32 = 0.96;

/// How long a stopping job tries to take back what it may have stored.
const LAST_DELETE: Duration = Duration::from_secs(2);

/// Does `transcode` jobs.
pub struct Transcode {
    store: Store,
    scratch: Scratch,
    launcher: Launcher,
}

/// What the gateway enqueues when an upload is complete; it holds more, for people.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    file_id: Uuid,
    /// Where the upload is in the store.
    key: String,
}

impl Transcode {
    /// Reads from and writes to `store`, with half-made files in `scratch`.
    pub fn new(store: Store, scratch: Scratch, launcher: Launcher) -> Self {
        Self { store, scratch, launcher }
    }

    async fn work(&self, job: &Job, context: &Context) -> Result<Outcome, Failure> {
        let payload = Payload::deserialize(&job.payload).map_err(|error| Failure {
            error: format!("the payload of job {} cannot be read: {error}", job.id),
            retryable: false,
        })?;
        // A failed attempt cannot always clean up after itself; its successor can.
        for earlier in 1..job.attempt {
            self.store.delete(&output_key(&payload, job.id, earlier)).await?;
        }
        let folder = self.scratch.folder().map_err(|error| local("make a scratch folder", &error))?;
        let output = folder.path().join("out").join("web.mp4");
        let convert = async {
            // The child may write in this folder only, and the input is not in it.
            std::fs::create_dir(folder.path().join("out"))
                .map_err(|error| local("make a scratch folder", &error))?;
            let input = self.input(&payload, folder.path(), context).await?;
            let started = Instant::now();
            let summary =
                self.launcher.convert(&input, &output, |progress| tell(context, &progress, started)).await?;
            context.report(CONVERTING, json!({"stage": "hash"}));
            let path = output.clone();
            let hashed = tokio::task::spawn_blocking(move || hash(&path)).await;
            let (size, sha256) = hashed
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(|error| local("read the output", &error))?;
            Ok::<_, Failure>((summary, size, sha256))
        };
        let (summary, size, sha256) = tokio::select! {
            made = convert => made?,
            reason = context.stopped() => return Err(stopped(reason)),
        };
        context.report(0.98, json!({"stage": "store"}));
        let key = output_key(&payload, job.id, job.attempt);
        self.put(&key, &output, context).await?;
        tracing::info!(job = job.id, key, size, decision = %summary.decision, warnings = summary.warnings.len(), "stored");
        let rendition = self.rendition(payload.file_id, key, size, sha256, &summary);
        Ok(Outcome { result: rendition.detail.clone(), record: Some(Box::new(rendition)) })
    }

    fn rendition(
        &self,
        file_id: Uuid,
        key: String,
        size: i64,
        sha256: [u8; 32],
        summary: &Summary,
    ) -> Rendition {
        let content_type = if summary.video_codec.is_some() { "video/mp4" } else { "audio/mp4" };
        let (store, detail) = (self.store.clone(), json!(summary));
        Rendition { store, file_id, kind: "web", key, size, sha256, content_type, detail }
    }

    /// Stores the output. In a folder that is a rename, quicker than any stop; in a bucket it may take minutes.
    async fn put(&self, key: &str, output: &Path, context: &Context) -> Result<(), Failure> {
        let putting = self.store.put_file(key, output);
        if self.store.local_path(key).is_some() {
            return Ok(putting.await?);
        }
        let reason = tokio::select! {
            put = putting => return Ok(put?),
            reason = context.stopped() => reason,
        };
        // The last request may have arrived all the same.
        let _ = timeout(LAST_DELETE, self.store.delete(key)).await;
        Err(stopped(reason))
    }

    /// The upload as a local file: where it is when the store is a folder, else a copy.
    async fn input(&self, payload: &Payload, folder: &Path, context: &Context) -> Result<PathBuf, Failure> {
        let size = self.store.size(&payload.key).await?;
        if let Some(path) = self.store.local_path(&payload.key) {
            return Ok(path);
        }
        context.report(0.0, json!({"stage": "download"}));
        let path = folder.join("input");
        let written = |error: std::io::Error| local("write the download", &error);
        let mut file = tokio::fs::File::create(&path).await.map_err(written)?;
        let mut bytes = self.store.read(&payload.key, 0..size);
        while let Some(chunk) = bytes.next().await {
            file.write_all(&chunk?).await.map_err(written)?;
        }
        file.flush().await.map_err(written)?;
        Ok(path)
    }
}

impl Handler for Transcode {
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
        Box::pin(async move { self.work(&job, &context).await })
    }
}

/// The attempt is part of the key, so that a worker that was taken for dead can never overwrite its successor.
fn output_key(payload: &Payload, job: i64, attempt: i32) -> String {
    format!("files/{}/web-{job}-{attempt}.mp4", payload.file_id)
}

/// Passes the child's progress on, with a guess at the time left.
fn tell(context: &Context, progress: &Progress, started: Instant) {
    let done = progress.progress;
    let left = started.elapsed().as_secs_f32() * (1.0 - done) / done;
    // The first moments say nothing about the rest.
    let eta = (done > 0.01).then(|| left.round());
    context
        .report(done * CONVERTING, json!({"stage": progress.stage, "fps": progress.fps, "etaSeconds": eta}));
}

fn hash(path: &Path) -> std::io::Result<(i64, [u8; 32])> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hasher.finalize().into())),
            read => {
                hasher.update(&buffer[..read]);
                size += read as i64;
            }
        }
    }
}

/// The queue knows the reason better than we do and words it itself.
fn stopped(reason: Stop) -> Failure {
    Failure { error: format!("stopped: {reason:?}"), retryable: true }
}

fn local(action: &str, error: &std::io::Error) -> Failure {
    Failure { error: format!("cannot {action}: {error}"), retryable: true }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        Self { error: error.sentence, retryable: !error.permanent }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // What is gone or was never valid does not come back; a store that is away does.
        let retryable = !matches!(error, StoreError::NotFound(_) | StoreError::Key(_));
        Self { error: error.to_string(), retryable }
    }
}
