//! A folder as an object store: one file per key, synced and then renamed into place.

mod reading;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use crate::{ByteStream, Object, StoreError};

/// Objects that a listing finds ahead of its receiver.
const LISTED_AHEAD: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn open(root: PathBuf) -> Result<Self, StoreError> {
        let folder = Self { root };
        create_private(&folder.staging()).map_err(|source| StoreError::Io {
            action: "create",
            object: show(&folder.staging()),
            source,
        })?;
        Ok(folder)
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join(".staging")
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    pub(crate) async fn put_file(&self, key: &str, source: &Path) -> Result<(), StoreError> {
        let (folder, owned, source) = (self.clone(), key.to_owned(), source.to_owned());
        blocking("store", key, move || folder.put(&owned, &source)).await
    }

    fn put(&self, key: &str, source: &Path) -> io::Result<()> {
        File::open(source)?.sync_all()?;
        let target = self.path(key);
        match self.rename(source, &target) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let copy = tempfile::Builder::new().prefix("put-").tempfile_in(self.staging())?;
                // Locked while it is written, so that a sweep of the staging folder can tell it from an
                // abandoned one.
                copy.as_file().lock()?;
                io::copy(&mut File::open(source)?, &mut copy.as_file())?;
                copy.as_file().sync_all()?;
                self.rename(copy.path(), &target)?;
                // The file was renamed, so the guard must not delete anything.
                copy.into_temp_path().keep()?;
                fs::remove_file(source)?;
            }
            other => other?,
        }
        self.sync_parents(&target)
    }

    /// Renames `source` to `target` and creates the folders on the way. Deleting another object may remove
    /// such a folder in between, so it tries several times.
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let parent = target.parent().unwrap_or(&self.root);
        let mut tries = 0;
        loop {
            create_private(parent)?;
            match fs::rename(source, target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 3 && source.exists() => {
                    tries += 1
                }
                other => return other,
            }
        }
    }

    /// A rename is durable only once the folder is: syncs every folder from the file up to the root, since
    /// any of them may be new.
    fn sync_parents(&self, target: &Path) -> io::Result<()> {
        for folder in target.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    pub(crate) fn read(&self, key: &str, range: Range<u64>) -> ByteStream {
        reading::read(self.path(key), key.to_owned(), range)
    }

    pub(crate) async fn size(&self, key: &str) -> Result<u64, StoreError> {
        let path = self.path(key);
        let metadata = blocking("inspect", key, move || fs::metadata(path)).await?;
        // A folder is a prefix of keys, not an object.
        if metadata.is_file() { Ok(metadata.len()) } else { Err(StoreError::NotFound(key.to_owned())) }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (folder, path) = (self.clone(), self.path(key));
        blocking("delete", key, move || {
            found(fs::remove_file(&path))?;
            folder.remove_empty_parents(&path);
            Ok(())
        })
        .await
    }

    pub(crate) async fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let (folder, path) = (self.clone(), self.path(prefix));
        blocking("delete", prefix, move || {
            found(fs::remove_dir_all(&path))?;
            folder.remove_empty_parents(&path);
            Ok(())
        })
        .await
    }

    /// Deletes the folders above an object that are empty now.
    fn remove_empty_parents(&self, path: &Path) {
        let parents = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in parents {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    pub(crate) fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StoreError>> {
        let (sender, receiver) = mpsc::channel(LISTED_AHEAD);
        let (root, start, prefix) = (self.root.clone(), self.path(prefix), prefix.to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(source) = list_files(&root, start, &sender) {
                // Fails if the receiver is gone, which then needs no error.
                let _ = sender.blocking_send(Err(StoreError::Io { action: "list", object: prefix, source }));
            }
        });
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        })
        .boxed()
    }

    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let staging = self.staging();
        blocking("write to", &show(&self.root), move || {
            tempfile::Builder::new().prefix("check-").tempfile_in(staging).and_then(|file| file.close())
        })
        .await
    }
}

/// Sends every file below `start`; what disappears meanwhile is left out.
fn list_files(
    root: &Path,
    start: PathBuf,
    sender: &mpsc::Sender<Result<Object, StoreError>>,
) -> io::Result<()> {
    let mut folders = vec![start];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            // A key that is an object has nothing below it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
            let object =
                Object { key: key.to_owned(), size: metadata.len(), stored_at: metadata.modified()? };
            if sender.blocking_send(Ok(object)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Runs file system work on the blocking pool, and names the object in its error.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    object: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let outcome =
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    outcome.map_err(|source| StoreError::io(action, object, source))
}

/// Turns the error of a missing file into success. A key below a file gives `NotADirectory`.
fn found(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        other => other,
    }
}

fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Creates a folder that only this user can enter. Fails if another user owns it: below a shared folder such
/// as `/tmp` another user may have made it first, and could read the unfinished files.
pub(crate) fn private_folder(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { action: "create", object: show(path), source };
    create_private(path).map_err(failed)?;
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let ours = fs::metadata("/proc/self").map_err(failed)?.uid() == metadata.uid();
    if ours && metadata.is_dir() && metadata.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(failed(io::Error::other("it exists already and is not a private folder of this user")))
    }
}
