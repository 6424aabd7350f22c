//! Memory of uploads that have begun: for each file the URL of its upload, in
//! `$XDG_STATE_HOME/nebulactl/uploads` or `~/.local/state/nebulactl/uploads`, so that the same command goes on
//! after a kill or a power cut.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::source::Source;
use crate::atomic_file::{PRIVATE, create_private_dir};
use crate::error::{Code, Doing, Error, Result};

/// The gateway keeps an upload for 7 days after its last byte.
const LIFETIME: Duration = Duration::from_secs(8 * 24 * 3600);

/// The folder of notes.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    server: String,
    project: Uuid,
}

/// The note of one upload, locked against other processes.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    file: File,
}

#[derive(Serialize, Deserialize)]
struct Content {
    /// For people who look into the folder.
    file: String,
    url: String,
}

impl Journal {
    /// The notes of this user about uploads to a project.
    pub(super) fn open(server: &str, project: Uuid) -> Result<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .ok_or_else(|| {
                Error::new(Code::Io, "there is no folder to keep the state of uploads in")
                    .hint("Set HOME or XDG_STATE_HOME.")
            })?;
        Self::at(base.join("nebulactl/uploads"), server, project)
    }

    fn at(folder: PathBuf, server: &str, project: Uuid) -> Result<Self> {
        create_private_dir(&folder)?;
        Ok(Self { folder, server: server.to_owned(), project })
    }

    /// Removes notes of uploads that the gateway has given up. What cannot be removed stays for the next time.
    pub(super) fn sweep(&self) {
        let Ok(entries) = self.folder.read_dir() else { return };
        for entry in entries.flatten() {
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
            let is_free = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if age.is_some_and(|age| age > LIFETIME) && is_free() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The note of a file. It is found by path, size, time of the last change, and the name at the gateway.
    pub(super) fn note(&self, source: &Source) -> Result<Note> {
        let path = source.path.canonicalize().doing(|| format!("read {}", source.path.display()))?;
        let modified = source.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let key = json!([
            self.server,
            self.project,
            source.folder,
            source.name,
            hex::encode(path.as_os_str().as_encoded_bytes()),
            source.size,
            modified.to_string()
        ]);
        let key = hex::encode(&openssl::sha::sha256(key.to_string().as_bytes())[..16]);
        let path = self.folder.join(key);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(PRIVATE);
        let file = options.open(&path).doing(|| format!("write {}", path.display()))?;
        file.try_lock().map_err(|_| {
            let detail = format!("{} is being uploaded by another nebulactl", source.path.display());
            Error::new(Code::WrongState, detail).hint("Wait for it; what it has sent is kept.")
        })?;
        // Its age is that of the last use, as that of the upload at the gateway. One whose time cannot be set may be
        // swept early: then the file is sent from its start.
        let _ = file.set_modified(SystemTime::now());
        Ok(Note { path, file })
    }
}

impl Note {
    /// URL of the upload that was begun; `None` also for a note that was not written to its end.
    pub(super) fn url(&mut self) -> Option<String> {
        let mut text = String::new();
        self.file.rewind().and_then(|()| self.file.read_to_string(&mut text)).ok()?;
        serde_json::from_str::<Content>(&text).ok().map(|content| content.url)
    }

    /// Keeps the URL, durably: it is worth as much as the bytes that are sent to it.
    pub(super) fn keep(&mut self, source: &Source, url: &str) -> Result<()> {
        let content = Content { file: source.path.display().to_string(), url: url.to_owned() };
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(serde_json::to_string(&content)?.as_bytes())?;
            self.file.sync_all()
        };
        write().doing(|| format!("write {}", self.path.display()))
    }

    /// Removes the note of an upload that has ended.
    pub(super) fn forget(self) {
        // One that stays names an upload that the gateway no longer has, and is then replaced.
        let _ = fs::remove_file(&self.path);
    }

    /// Lets go of a note that was never written.
    pub(super) fn leave(mut self) {
        if self.url().is_none() {
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(size: u64) -> Source {
        Source {
            path: PathBuf::from("/dev/null"),
            folder: String::new(),
            name: "a".to_owned(),
            size,
            modified: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_upload_is_found_again_by_its_file_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let journal =
            |server: &str| Journal::at(folder.path().join("a/uploads"), server, Uuid::nil()).unwrap();
        let (one, other) = (journal("http://a"), journal("http://b"));
        let mut note = one.note(&source(1)).unwrap();
        assert_eq!(note.url(), None);
        note.keep(&source(1), "/api/uploads/1").unwrap();
        note.keep(&source(1), "/api/uploads/2").unwrap();
        assert!(one.note(&source(1)).is_err(), "it is locked");
        drop(note);
        assert_eq!(one.note(&source(1)).unwrap().url().as_deref(), Some("/api/uploads/2"));
        assert_eq!(one.note(&source(2)).unwrap().url(), None);
        assert_eq!(other.note(&source(1)).unwrap().url(), None);
        one.note(&source(1)).unwrap().forget();
        assert_eq!(one.note(&source(1)).unwrap().url(), None);
    }

    #[test]
    fn old_notes_are_removed_and_torn_ones_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path().to_owned(), "http://a", Uuid::nil()).unwrap();
        for size in [1, 2] {
            journal.note(&source(size)).unwrap().keep(&source(size), "/api/uploads/1").unwrap();
        }
        let old = journal.note(&source(1)).unwrap();
        old.file.set_modified(SystemTime::now() - 2 * LIFETIME).unwrap();
        journal.sweep();
        assert_eq!(folder.path().read_dir().unwrap().count(), 2, "a note in use stays");
        drop(old);
        journal.sweep();
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        // One that was used since stays, however old it is.
        let note = journal.note(&source(2)).unwrap();
        note.file.set_modified(SystemTime::now() - 2 * LIFETIME).unwrap();
        drop(note);
        drop(journal.note(&source(2)).unwrap());
        journal.sweep();
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        let mut torn = journal.note(&source(2)).unwrap();
        torn.file.set_len(10).unwrap();
        assert_eq!(torn.url(), None);
        torn.leave();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
