//! Watches the disks of files and of the database, so that neither fills up unnoticed: in `/metrics`, in
//! `/health/ready` and in the log of events, long before PostgreSQL could not write.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nebula_storage::{Disk, Level, NoRoom, Reserve, Room, Store};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, storage};
use crate::error::{ApiError, DISK_FULL, UNAVAILABLE};
use crate::infra::metrics::Metrics;

/// Time between looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a look may take; a network file system that does not answer would take for ever.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// A database on a disk of its own needs this part of what stays free beside files, since uploads hardly fill
/// it.
const DATABASE_SHARE: u64 = 4;

/// A disk at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskState {
    /// `storage`, `staging` or `database`.
    pub(crate) name: &'static str,
    pub(crate) room: Room,
}

/// The disks that must not fill up.
#[derive(Debug)]
pub(crate) struct Disks {
    files: Disk,
    files_name: &'static str,
    /// Taken for a look, until it has ended: on a file system that does not answer, looks would use up the
    /// threads of all other work that blocks.
    looking: Arc<Semaphore>,
    reserve: Reserve,
    database: Database,
    /// As last seen; `None` until the database has answered.
    of_database: Mutex<Option<Room>>,
}

impl Disks {
    /// Files are received on the disk of the store's staging folder, which is the store's own when that is a
    /// folder.
    pub(crate) fn new(database: Database, store: &Store, reserve: Reserve) -> Self {
        let staging = store.staging();
        let files_name = if store.local_path("files").is_some() { "storage" } else { "staging" };
        Self {
            files: Disk::new(staging, reserve),
            files_name,
            looking: Arc::new(Semaphore::new(1)),
            reserve,
            database,
            of_database: Mutex::new(None),
        }
    }

    /// The disk that uploads are received on.
    pub(crate) fn files(&self) -> &Disk {
        &self.files
    }

    /// Refuses an upload for which there is no room, before its first byte is read.
    pub(crate) async fn refuse_upload(&self, promised: Option<u64>) -> Result<(), ApiError> {
        let room = self.look_at_files().await.map_err(|error| ApiError::unavailable("storage", &error))?;
        if let Some(refusal) = room.refusal(promised.unwrap_or(0)) {
            return Err(refuse(&refusal));
        }
        let of_database = *self.of_database.lock().unwrap_or_else(PoisonError::into_inner);
        match of_database.filter(|room| room.level() == Level::Full) {
            Some(room) => Err(ApiError::new(
                DISK_FULL,
                format!("the database's disk is nearly full: {room}"),
            )
            .hint(
                "Uploads are taken again when there is room on it, so that the database can go on working.",
            )),
            None => Ok(()),
        }
    }

    /// Looks at all disks; leaves out those that cannot be seen, which other checks report.
    pub(crate) async fn look(&self) -> Vec<DiskState> {
        let (files, of_database) =
            tokio::join!(self.look_at_files(), timeout(LOOK_TIMEOUT, self.look_at_database()));
        let of_database = of_database.ok().and_then(Result::ok).flatten();
        if of_database.is_some() {
            *self.of_database.lock().unwrap_or_else(PoisonError::into_inner) = of_database;
        }
        let files = files.ok().map(|room| DiskState { name: self.files_name, room });
        files.into_iter().chain(of_database.map(|room| DiskState { name: "database", room })).collect()
    }

    async fn look_at_files(&self) -> io::Result<Room> {
        let disk = self.files.clone();
        self.look_alone(move || disk.room()).await
    }

    /// Looks on a thread that may block, when the look before has ended.
    async fn look_alone<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let semaphore = Arc::clone(&self.looking);
        let looking = async {
            let permit = semaphore.acquire_owned().await.map_err(io::Error::other)?;
            let look = move || {
                let _permit = permit;
                look()
            };
            spawn_blocking(look).await.map_err(io::Error::other)?
        };
        timeout(LOOK_TIMEOUT, looking).await?
    }

    async fn look_at_database(&self) -> Result<Option<Room>, ApiError> {
        let found = storage::disk_room(&self.database.client().await?, self.reserve).await?;
        Ok(found.map(|room| Room { reserve: room.reserve / DATABASE_SHARE, ..room }))
    }

    /// Puts a change of the level on record. Gateways that see the same disk record it once.
    async fn record(&self, disk: DiskState) -> Result<(), ApiError> {
        let DiskState { name, room } = disk;
        let detail =
            json!({"size": room.size, "free": room.free, "reserve": room.reserve, "text": room.to_string()});
        let part = format!("{name}-disk");
        storage::record_state(&self.database.client().await?, &part, level_word(room.level()), &detail).await
    }
}

/// The word for a level, in events.
fn level_word(level: Level) -> &'static str {
    match level {
        Level::Ample => "disk-ok",
        Level::Low => "disk-low",
        Level::Full => "disk-full",
    }
}

/// The failure of an upload for which there is no room.
pub(crate) fn refuse(refusal: &NoRoom) -> ApiError {
    if refusal.room.read_only {
        return ApiError::new(UNAVAILABLE, "the storage is mounted read-only").hint(
            "The administrator finds the reason in the kernel's log, and mounts it for writing again.",
        );
    }
    ApiError::new(DISK_FULL, format!("there is no room for this upload: {refusal}")).hint(
        "Delete files or make room on the disk. The administrator sets with NEBULA_DISK_RESERVE what stays free.",
    )
}

/// Looks at the disks every few seconds until `stopping` is cancelled: sets the gauges, logs and records
/// changes.
pub(crate) fn start_watching(disks: Arc<Disks>, metrics: Metrics, stopping: CancellationToken) {
    let watching = async move {
        let mut recorded: Vec<(&'static str, Level)> = Vec::new();
        loop {
            for disk in disks.look().await {
                metrics.disk(disk.name, &disk.room);
                let now = (disk.name, disk.room.level());
                if recorded.contains(&now) {
                    continue;
                }
                match now.1 {
                    Level::Ample => tracing::info!(disk = disk.name, "{}", disk.room),
                    _ => tracing::warn!(disk = disk.name, "the disk has little room: {}", disk.room),
                }
                // Without a database the change is recorded at a later look.
                if disks.record(disk).await.is_ok() {
                    recorded.retain(|(name, _)| *name != disk.name);
                    recorded.push(now);
                }
            }
            sleep(INTERVAL).await;
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(watching).await });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Signer;

    #[tokio::test]
    async fn uploads_are_refused_when_the_database_has_a_disk_of_its_own_that_is_nearly_full() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        let database =
            Database::new("postgresql://nobody@127.0.0.1:1/none", None, 1, Signer::new(&[7; 32]).unwrap())
                .unwrap();
        let disks = Disks::new(database, &store, Reserve::Bytes(0));
        disks.refuse_upload(Some(1)).await.unwrap();
        let room = Room { size: 100_000, free: 9_000, reserve: 10_000, inodes: None, read_only: false };
        *disks.of_database.lock().unwrap() = Some(room);
        let error = disks.refuse_upload(Some(1)).await.unwrap_err();
        assert_eq!(error.meaning(), DISK_FULL);
        let failure = error.failure();
        assert!(failure.detail.contains("database's disk") && failure.hint.is_some(), "{failure:?}");
        // As last seen: the database does not answer here.
        assert_eq!(disks.look().await.len(), 1);
        *disks.of_database.lock().unwrap() = Some(Room { free: 30_000, ..room });
        disks.refuse_upload(None).await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_looked_at_by_one_thread() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        let database =
            Database::new("postgresql://nobody@127.0.0.1:1/none", None, 1, Signer::new(&[7; 32]).unwrap())
                .unwrap();
        let disks = Disks::new(database, &store, Reserve::Bytes(0));
        let (begun, looks) = std::sync::mpsc::channel();
        let (answer, hung) = std::sync::mpsc::channel::<()>();
        let stuck = begun.clone();
        let first = disks.look_alone(move || {
            stuck.send(()).map_err(io::Error::other)?;
            hung.recv().map_err(io::Error::other)
        });
        let further = (0..20).map(|_| {
            let begun = begun.clone();
            disks.look_alone(move || begun.send(()).map_err(io::Error::other))
        });
        let further = futures::future::join_all(further);
        let watched = async {
            // While the first look hangs, the further ones wait for the lock and occupy no thread.
            let waited = timeout(Duration::from_millis(100), std::future::pending::<()>()).await;
            assert!(waited.is_err() && looks.try_iter().count() == 1);
            answer.send(()).unwrap();
        };
        let (first, further, ()) = tokio::join!(first, further, watched);
        assert!(first.is_ok() && further.iter().all(Result::is_ok));
        assert_eq!(looks.try_iter().count(), 20);
    }
}
