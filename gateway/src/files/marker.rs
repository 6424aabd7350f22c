//! Markers in the staging folder: each names a content whose bytes and row are about to be made or deleted, so that a
//! gateway which was killed in between leaves a trace.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nebula_storage::Store;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::files::upload::receive::is_older;

const PREFIX: &str = "pending-";
/// Age of a marker whose gateway is gone: its last statement has ended by then, since the server cancels it
/// after 30 s.
const MIN_AGE: Duration = Duration::from_secs(60);

/// A marker of this gateway. It stays when it is dropped without [`Marker::settled`].
#[derive(Debug)]
pub(crate) struct Marker {
    path: PathBuf,
    /// Locked as long as the gateway lives.
    file: File,
}

impl Marker {
    /// Marks that the bytes and the row of a content are about to be made or deleted.
    pub(crate) async fn create(store: &Store, content_id: Uuid) -> io::Result<Self> {
        let path = store.staging().join(format!("{PREFIX}{content_id}"));
        let created = spawn_blocking(move || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(Self { path, file })
        });
        created.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// To be called before each statement that makes or deletes the row: until it has ended, nothing may be
    /// concluded from its absence.
    pub(crate) fn renew(&self) {
        if let Err(error) = self.file.set_modified(SystemTime::now()) {
            tracing::warn!(path = %self.path.display(), %error, "cannot renew a marker");
        }
    }

    /// Bytes and row agree: both are there, or neither.
    pub(crate) async fn settled(self) {
        if let Err(error) = tokio::fs::remove_file(&self.path).await {
            tracing::warn!(path = %self.path.display(), %error, "a marker is left in the staging folder");
        }
    }
}

/// Markers that no gateway holds any more, with the contents they name.
pub(crate) fn abandoned(staging: &Path) -> io::Result<Vec<(Uuid, PathBuf)>> {
    let mut found = Vec::new();
    for entry in staging.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(Ok(content_id)) = name.strip_prefix(PREFIX).map(Uuid::parse_str) else { continue };
        let is_free = || File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_older(&path, MIN_AGE) && is_free() {
            found.push((content_id, path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_old_markers_of_dead_gateways_are_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        let old = SystemTime::now() - 2 * MIN_AGE;
        let held = Marker::create(&store, Uuid::new_v4()).await.unwrap();
        held.file.set_modified(old).unwrap();
        let (dead, fresh) = (Uuid::new_v4(), Uuid::new_v4());
        for (content_id, at) in [(dead, old), (fresh, SystemTime::now())] {
            let marker = Marker::create(&store, content_id).await.unwrap();
            marker.file.set_modified(at).unwrap();
        }
        let ids = |found: Vec<(Uuid, PathBuf)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(abandoned(&store.staging()).unwrap()), [dead]);
        held.settled().await;
        assert_eq!(store.staging().read_dir().unwrap().count(), 2);
    }
}
