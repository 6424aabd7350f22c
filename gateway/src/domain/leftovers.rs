//! Leftovers of killed gateways and workers: unfinished files in the staging folder, and objects in the store
//! that belong to no file.
//!
//! A marker in the staging folder names each content whose bytes and row are about to be made or deleted. One
//! that outlives its gateway says where to look: what no row claims there is deleted. Other objects without a
//! row are only reported, because they are also what a database restored from an older backup leaves in the
//! store; the administrator may have them deleted some time after they were found.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use nebula_storage::{Object, Store};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, storage, upload};
use crate::domain::file::storage_prefix;
use crate::error::ApiError;
use crate::files::marker;
use crate::files::upload::partial::{self, Folder};
use crate::files::upload::receive;
use crate::infra::metrics::Metrics;
use sightings::Sightings;

mod sightings;

/// How often markers are looked for.
const MARKER_INTERVAL: Duration = Duration::from_secs(30);
/// How often unfinished files and orphans are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// Age of an object without a row that counts as an orphan; its row is normally made within seconds.
const ORPHAN_AGE: Duration = Duration::from_secs(600);
/// Orphans that are named in the log at each count; the others are in it from level debug on.
const NAMED_ORPHANS: u64 = 20;
/// Keys that the database is asked about at once.
const BATCH: usize = 1000;

/// Objects that belong to no file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orphans {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// Finds and removes leftovers.
#[derive(Debug)]
pub(crate) struct Leftovers {
    database: Database,
    store: Store,
    /// Time after their discovery at which orphans are deleted; `None`: they are only reported.
    orphan_age: Option<Duration>,
    orphans: Mutex<Orphans>,
}

impl Leftovers {
    pub(crate) fn new(database: Database, store: Store, orphan_age: Option<Duration>) -> Self {
        Self { database, store, orphan_age, orphans: Mutex::default() }
    }

    /// Orphans as last counted.
    pub(crate) fn orphans(&self) -> Orphans {
        *self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes unfinished files of killed gateways.
    async fn sweep_staging(&self) {
        let staging = self.store.staging();
        let swept = move || {
            std::io::Result::Ok(receive::sweep(&staging)? + Folder::of(&staging).sweep(partial::LIFETIME)?)
        };
        match spawn_blocking(swept).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "deleted unfinished files from the staging folder"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot clean the staging folder"),
            Err(error) => tracing::warn!(%error, "cannot clean the staging folder"),
        }
    }

    /// Forgets uploads that were given up. They no longer count before that, so this need not succeed.
    async fn sweep_uploads(&self) -> Result<(), ApiError> {
        upload::end_expired(&self.database.client().await?).await
    }

    /// Deletes what killed gateways stored without a row, or did not delete with the row.
    async fn settle_markers(&self) -> Result<(), ApiError> {
        let staging = self.store.staging();
        let abandoned = spawn_blocking(move || marker::abandoned(&staging)).await;
        let abandoned = abandoned.map_err(|error| ApiError::internal(&error))?;
        for (content_id, path) in abandoned.map_err(|error| ApiError::unavailable("storage", &error))? {
            let objects: Vec<Object> = self.store.list(&storage_prefix(content_id)).try_collect().await?;
            for object in self.unknown(objects).await? {
                self.store.delete(&object.key).await?;
                tracing::info!(
                    key = object.key,
                    size = object.size,
                    "deleted what a killed gateway left in the store"
                );
            }
            if let Err(error) = tokio::fs::remove_file(&path).await {
                tracing::warn!(path = %path.display(), %error, "cannot remove a marker");
            }
        }
        Ok(())
    }

    /// Counts the objects that belong to no file, and deletes those that were found long enough ago.
    async fn count_orphans(&self, metrics: &Metrics) -> Result<(), ApiError> {
        let mut counted = Orphans::default();
        let before = self.sightings().await;
        let mut sightings = Sightings::default();
        let mut batches = self.store.list("files").try_chunks(BATCH).boxed();
        while let Some(batch) = batches.next().await {
            let old = batch.map_err(|error| error.1)?.into_iter().filter(|object| age(object) >= ORPHAN_AGE);
            for orphan in self.unknown(old.collect()).await? {
                let found = sightings.found(&before, &orphan.key, SystemTime::now());
                if self.orphan_age.is_some_and(|limit| found >= limit) {
                    self.store.delete(&orphan.key).await?;
                    sightings.forget(&orphan.key);
                    tracing::info!(
                        key = orphan.key,
                        size = orphan.size,
                        "deleted an object that belongs to no file"
                    );
                    continue;
                }
                if counted.count < NAMED_ORPHANS {
                    tracing::warn!(key = orphan.key, size = orphan.size, "this object belongs to no file");
                } else {
                    tracing::debug!(key = orphan.key, size = orphan.size, "this object belongs to no file");
                }
                counted = Orphans { count: counted.count + 1, bytes: counted.bytes + orphan.size };
            }
        }
        self.keep(sightings, &before).await;
        let unnamed = counted.count.saturating_sub(NAMED_ORPHANS);
        if unnamed > 0 {
            tracing::warn!(
                unnamed,
                "more objects belong to no file; RUST_LOG=nebula_gateway=debug names them"
            );
        }
        *self.orphans.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        metrics.orphans(counted.count, counted.bytes);
        let state = if counted.count == 0 { "orphans-ok" } else { "orphans-found" };
        let detail = json!({"objects": counted.count, "bytes": counted.bytes});
        storage::record_state(&self.database.client().await?, "storage-orphans", state, &detail).await?;
        Ok(())
    }

    async fn sightings(&self) -> Sightings {
        let staging = self.store.staging();
        spawn_blocking(move || Sightings::read(&staging)).await.unwrap_or_default()
    }

    async fn keep(&self, sightings: Sightings, before: &Sightings) {
        if sightings == *before {
            return;
        }
        let staging = self.store.staging();
        let written = spawn_blocking(move || sightings.write(&staging)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::warn!(%error, "cannot note when objects without a file were found; they are kept for longer");
        }
    }

    /// Filters objects: leaves those that belong to no file.
    async fn unknown(&self, objects: Vec<Object>) -> Result<Vec<Object>, ApiError> {
        if objects.is_empty() {
            return Ok(objects);
        }
        let keys: Vec<String> = objects.iter().map(|object| object.key.clone()).collect();
        let unknown: HashSet<_> =
            storage::unknown_objects(&self.database.client().await?, &keys).await?.into_iter().collect();
        Ok(objects.into_iter().filter(|object| unknown.contains(&object.key)).collect())
    }
}

fn age(object: &Object) -> Duration {
    SystemTime::now().duration_since(object.stored_at).unwrap_or_default()
}

/// Looks for leftovers now and from time to time, until `stopping` is cancelled.
pub(crate) fn start_sweeping(leftovers: Arc<Leftovers>, metrics: Metrics, stopping: CancellationToken) {
    let sweeping = async move {
        let (mut last_sweep, mut last_count): (Option<Instant>, Option<Instant>) = (None, None);
        let is_due = |last: Option<Instant>| last.is_none_or(|at| at.elapsed() >= SWEEP_INTERVAL);
        loop {
            // Needs no database: unfinished files may be what its disk is full of.
            if is_due(last_sweep) {
                leftovers.sweep_staging().await;
                let _ = leftovers.sweep_uploads().await;
                last_sweep = Some(Instant::now());
            }
            // Fails while the database or the store is away; then the next look finds the same.
            if let Err(error) = leftovers.settle_markers().await {
                tracing::debug!(%error, "cannot look after the markers of killed gateways yet");
            } else if is_due(last_count) {
                match leftovers.count_orphans(&metrics).await {
                    Ok(()) => last_count = Some(Instant::now()),
                    Err(error) => tracing::warn!(%error, "cannot compare the storage with the database"),
                }
            }
            sleep(MARKER_INTERVAL).await;
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(sweeping).await });
}
