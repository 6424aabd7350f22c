//! Folders for unfinished files: one per worker. Each worker removes those of dead workers when it starts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Marks the folders of workers, since the root also holds the gateway's uploads.
const PREFIX: &str = "worker-";

/// This worker's scratch folder; removed with its content when dropped.
///
/// A file lock marks it as in use, not a process id: containers that share a volume do not share process ids,
/// while a lock always ends with the process that holds it.
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Removes the folders of dead workers below `root`, then makes one for this worker.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Without this lock another worker could remove a folder between its creation and its own lock.
        let cleanup_lock = lock_file(&root.join(".worker.lock"))?;
        cleanup_lock.lock()?;
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let is_ours =
                entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir();
            if is_ours && is_abandoned(&entry.path()) {
                tracing::info!("removing {}, left by a worker that died", entry.path().display());
                fs::remove_dir_all(entry.path())?;
            }
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
        let lock = lock_file(&folder.path().join("lock"))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// Makes a folder for one attempt at one job.
    pub(crate) fn folder(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("job-").tempdir_in(self.folder.path())
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn is_abandoned(folder: &Path) -> bool {
    match File::options().write(true).open(folder.join("lock")) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_workers_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let live = Scratch::open(root.path()).unwrap();
        let dead = root.path().join("worker-dead");
        fs::create_dir_all(dead.join("job-1")).unwrap();
        fs::write(dead.join("lock"), b"").unwrap();
        fs::write(root.path().join("upload-1"), b"").unwrap();

        let second = Scratch::open(root.path()).unwrap();
        assert!(!dead.exists() && live.folder().is_ok() && second.folder().is_ok());
        drop((live, second));
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(root.path().join("upload-1").exists());
    }
}
