//! Where half-made files lie: one folder per worker, which the next worker removes when its owner died.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Marks the folders that are ours to sweep: the root is shared with the gateway's uploads.
const PREFIX: &str = "worker-";

/// This worker's scratch folder; removed with all that is in it when dropped.
///
/// It is held by a file lock rather than named by a process id: ids mean nothing across containers that share a
/// volume, while a lock ends with its holder, wherever that runs and however it died.
pub struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Removes what dead workers left below `root`, then makes a folder for this one.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Nobody may sweep between the making of a folder and its lock.
        let gate = lock_file(&root.join(".worker.lock"))?;
        gate.lock()?;
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

    /// A folder for one attempt at one job.
    pub fn folder(&self) -> io::Result<TempDir> {
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
    fn only_what_the_dead_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratch::open(root.path()).unwrap();
        let dead = root.path().join("worker-dead");
        fs::create_dir_all(dead.join("job-1")).unwrap();
        fs::write(dead.join("lock"), b"").unwrap();
        fs::write(root.path().join("upload-1"), b"").unwrap();

        let second = Scratch::open(root.path()).unwrap();
        assert!(!dead.exists() && living.folder().is_ok() && second.folder().is_ok());
        drop((living, second));
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(root.path().join("upload-1").exists());
    }
}
