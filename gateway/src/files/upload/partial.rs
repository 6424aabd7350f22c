//! Uploads that can go on after an interruption: below the staging folder, the bytes as `uploads/ID` and what
//! they are to become as `uploads/ID.json`. The length of the first is the offset at which the upload goes
//! on, so nothing else has to be kept up to date, and a gateway that is killed loses at most what it had not
//! yet written.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use nebula_storage::Disk;
use openssl::hash::Hasher;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::receive::{ReceiveError, is_older};

/// How long an upload is kept after its last byte, and what is known of a finished one after its end.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the copy of a join is kept that nobody works on: its gateway was killed, and no client can go on with it.
const JOIN_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The file that an upload is to become.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) account_id: Uuid,
    pub(crate) project_id: Uuid,
    #[serde(default)]
    pub(crate) folder: String,
    pub(crate) name: String,
    /// `None`: the client does not know it yet.
    pub(crate) size: Option<u64>,
    /// As the client announced it.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
    /// The header `Upload-Metadata`, which HEAD repeats.
    #[serde(default)]
    pub(crate) metadata: Option<String>,
    /// The file that it has become.
    #[serde(default)]
    pub(crate) file_id: Option<Uuid>,
    /// The part that the project had already.
    #[serde(default)]
    pub(crate) duplicate: Option<Duplicate>,
    /// It becomes no file by itself, but is joined with others.
    #[serde(default)]
    pub(crate) is_part: bool,
    /// The parts that it was joined from.
    #[serde(default)]
    pub(crate) parts: Vec<Uuid>,
}

/// The part of an upload that the project had already when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Duplicate {
    /// This file, under the same name.
    File,
    /// The same bytes under another name; they are stored once.
    Content,
}

/// The folder of unfinished uploads.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

/// Bytes that another request or another gateway is writing, or that are gone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("another request is writing it")]
    Locked,
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl Folder {
    pub(crate) fn of(staging: &Path) -> Self {
        Self(staging.join("uploads"))
    }

    fn bytes(&self, id: Uuid) -> PathBuf {
        self.0.join(id.to_string())
    }

    fn plan_path(&self, id: Uuid) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// Makes an upload without bytes.
    pub(crate) fn create(&self, id: Uuid, plan: &Plan) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        File::create_new(self.bytes(id))?;
        self.write_plan(id, plan).inspect_err(|_| drop(fs::remove_file(self.bytes(id))))
    }

    pub(crate) fn write_plan(&self, id: Uuid, plan: &Plan) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.0)?;
        serde_json::to_writer(&mut file, plan)?;
        file.as_file().sync_all()?;
        file.persist(self.plan_path(id))?;
        File::open(&self.0)?.sync_all()
    }

    /// `None`: there is no such upload.
    pub(crate) fn plan(&self, id: Uuid) -> io::Result<Option<Plan>> {
        match fs::read(self.plan_path(id)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the bytes at their end. They are locked as long as the file is open, also against other
    /// gateways.
    pub(crate) fn open(&self, id: Uuid) -> Result<File, OpenError> {
        let file = File::options().read(true).append(true).open(self.bytes(id))?;
        file.try_lock().map_err(|_| OpenError::Locked)?;
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::from(ErrorKind::NotFound).into());
        }
        Ok(file)
    }

    /// When it is deleted, unless more of it comes.
    pub(crate) fn expiry(&self, id: Uuid) -> SystemTime {
        let written = [self.bytes(id), self.plan_path(id)]
            .iter()
            .find_map(|path| path.metadata().ok()?.modified().ok());
        written.unwrap_or_else(SystemTime::now) + LIFETIME
    }

    /// A second name of the bytes in the staging folder, which can be moved into the store while these stay
    /// until the row of the file is made. On file systems without second names, the bytes themselves are
    /// moved.
    pub(crate) fn link(&self, id: Uuid) -> io::Result<PathBuf> {
        let staging = self.0.parent().unwrap_or(&self.0);
        let link = staging.join(format!("upload-{id}"));
        match fs::hard_link(self.bytes(id), &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(link),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            Err(_) => fs::rename(self.bytes(id), &link).map(|()| link),
            Ok(()) => Ok(link),
        }
    }

    /// Notes the file that an upload has become, and deletes its bytes.
    pub(crate) fn finish(&self, id: Uuid, plan: &Plan) -> io::Result<()> {
        self.write_plan(id, plan)?;
        absent(fs::remove_file(self.bytes(id)))
    }

    pub(crate) fn remove(&self, id: Uuid) -> io::Result<()> {
        absent(fs::remove_file(self.plan_path(id)))?;
        absent(fs::remove_file(self.bytes(id)))
    }

    /// Deletes uploads of which nothing came for so long; answers how many.
    pub(crate) fn sweep(&self, age: Duration) -> io::Result<usize> {
        let entries = match self.0.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut swept = 0;
        for entry in entries {
            let path = entry?.path();
            let bytes = path.with_extension("");
            // A plan lives as long as its bytes, and goes with them.
            if path != bytes && bytes.exists() {
                continue;
            }
            let written = &path;
            let age = if self.is_join(&bytes) { age.min(JOIN_LIFETIME) } else { age };
            let is_free = || File::open(written).is_ok_and(|file| file.try_lock().is_ok());
            if is_older(written, age) && is_free() && fs::remove_file(&path).is_ok() && path == bytes {
                absent(fs::remove_file(path.with_extension("json")))?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Whether these bytes are copied from parts.
    fn is_join(&self, bytes: &Path) -> bool {
        let id = bytes.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let plan = id.filter(|_| bytes.exists()).and_then(|id| self.plan(id).ok().flatten());
        plan.is_some_and(|plan| plan.file_id.is_none() && !plan.parts.is_empty())
    }
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The hash of the first bytes of an upload. It is lost with the gateway, and then made anew at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hashed {
    length: u64,
    hasher: Sha256,
}

impl Hashed {
    /// Copies a file to the end of another while there is room, and hashes it on the way.
    pub(crate) fn append(&mut self, from: &mut File, to: &mut File, disk: &Disk) -> Result<(), ReceiveError> {
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                count => {
                    if let Some(refusal) = disk.room()?.refusal(count as u64) {
                        return Err(refusal.into());
                    }
                    to.write_all(&buffer[..count])?;
                    self.hasher.update(&buffer[..count]);
                    self.length += count as u64;
                }
            }
        }
    }

    /// Reads what was not hashed when it came, and answers the hash of all.
    pub(crate) fn finish(mut self, file: &mut File) -> io::Result<[u8; 32]> {
        file.seek(SeekFrom::Start(self.length))?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(self.hasher.finalize().into()),
                count => self.hasher.update(&buffer[..count]),
            }
        }
    }
}

/// One request's bytes on their way to the end of an upload.
pub(crate) struct Appending {
    pub(crate) file: File,
    pub(crate) disk: Disk,
    pub(crate) offset: u64,
    pub(crate) hashed: Hashed,
    /// Of this request's bytes alone, if the client sent one to compare.
    pub(crate) checksum: Option<Hasher>,
}

impl Appending {
    pub(crate) fn write(mut self, batch: Vec<Bytes>) -> Result<Self, ReceiveError> {
        let size = batch.iter().map(|chunk| chunk.len() as u64).sum();
        if let Some(refusal) = self.disk.room()?.refusal(size) {
            return Err(refusal.into());
        }
        for chunk in batch {
            self.file.write_all(&chunk)?;
            if self.hashed.length == self.offset {
                self.hashed.hasher.update(&chunk);
                self.hashed.length += chunk.len() as u64;
            }
            self.offset += chunk.len() as u64;
            if let Some(checksum) = &mut self.checksum {
                checksum.update(&chunk).map_err(io::Error::from)?;
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use nebula_storage::Reserve;

    use super::*;

    fn plan() -> Plan {
        Plan {
            folder: String::new(),
            account_id: Uuid::nil(),
            project_id: Uuid::nil(),
            name: "film.mkv".to_owned(),
            size: Some(6),
            sha256: None,
            metadata: None,
            file_id: None,
            duplicate: None,
            is_part: false,
            parts: Vec::new(),
        }
    }

    #[test]
    fn bytes_stay_until_the_file_has_its_row_and_are_hashed_whoever_wrote_them() {
        let staging = tempfile::tempdir().unwrap();
        let (folder, id) = (Folder::of(staging.path()), Uuid::from_u128(1));
        assert!(folder.plan(id).unwrap().is_none());
        folder.create(id, &plan()).unwrap();
        let disk = Disk::new(staging.path(), Reserve::Bytes(0));
        let append = |offset, hashed, chunk| {
            let file = folder.open(id).unwrap();
            let appending = Appending { file, disk: disk.clone(), offset, hashed, checksum: None };
            appending.write(vec![Bytes::from_static(chunk)]).unwrap()
        };
        let first = append(0, Hashed::default(), b"abc");
        assert!(matches!(folder.open(id), Err(OpenError::Locked)));
        let hashed = first.hashed.clone();
        drop(first);
        // The second one knows no hash of the first bytes, as after a restart of the gateway.
        let mut second = append(3, Hashed::default(), b"def");
        let expected = <[u8; 32]>::from(Sha256::digest(b"abcdef"));
        assert_eq!(second.hashed.finish(&mut second.file).unwrap(), expected);
        assert_eq!(hashed.finish(&mut second.file).unwrap(), expected);
        let link = folder.link(id).unwrap();
        assert_eq!(folder.link(id).unwrap(), link);
        fs::remove_file(link).unwrap();
        folder.finish(id, &Plan { file_id: Some(id), ..plan() }).unwrap();
        assert!(folder.open(id).is_err());
        assert_eq!(folder.plan(id).unwrap().unwrap().file_id, Some(id));
    }

    #[test]
    fn parts_are_copied_only_while_there_is_room() {
        let staging = tempfile::tempdir().unwrap();
        let mut part = tempfile::tempfile().unwrap();
        part.write_all(b"part").unwrap();
        let mut copy = |reserve| {
            let mut to = tempfile::tempfile().unwrap();
            part.rewind().unwrap();
            let disk = Disk::new(staging.path(), Reserve::Bytes(reserve));
            let copied = Hashed::default().append(&mut part, &mut to, &disk);
            (copied, to.metadata().unwrap().len())
        };
        assert!(matches!(copy(u64::MAX / 2), (Err(ReceiveError::NoRoom(_)), 0)));
        assert!(matches!(copy(0), (Ok(()), 4)));
    }

    #[test]
    fn uploads_of_which_nothing_comes_are_deleted_with_their_plans() {
        let staging = tempfile::tempdir().unwrap();
        let folder = Folder::of(staging.path());
        assert_eq!(folder.sweep(LIFETIME).unwrap(), 0);
        let [old, held, fresh] = [1, 2, 3].map(Uuid::from_u128);
        let long_ago = SystemTime::now() - 2 * LIFETIME;
        for id in [old, held, fresh] {
            folder.create(id, &plan()).unwrap();
            // Plans are as old as their uploads, whose bytes may have come later.
            File::options().write(true).open(folder.plan_path(id)).unwrap().set_modified(long_ago).unwrap();
        }
        for id in [old, held] {
            File::options().write(true).open(folder.bytes(id)).unwrap().set_modified(long_ago).unwrap();
        }
        let lock = folder.open(held).unwrap();
        assert_eq!(folder.sweep(LIFETIME).unwrap(), 1);
        assert!(folder.plan(old).unwrap().is_none() && !folder.bytes(old).exists());
        for id in [held, fresh] {
            assert!(folder.plan(id).unwrap().is_some() && folder.bytes(id).exists());
        }
        drop(lock);
        assert_eq!(folder.sweep(LIFETIME).unwrap(), 1);
        assert_eq!(staging.path().join("uploads").read_dir().unwrap().count(), 2);
    }

    #[test]
    fn the_copy_of_a_join_that_was_killed_goes_at_the_next_sweep_and_its_parts_stay() {
        let staging = tempfile::tempdir().unwrap();
        let folder = Folder::of(staging.path());
        let [part, copy] = [1, 2].map(Uuid::from_u128);
        folder.create(part, &Plan { is_part: true, ..plan() }).unwrap();
        folder.create(copy, &Plan { parts: vec![part], ..plan() }).unwrap();
        let before = SystemTime::now() - 2 * JOIN_LIFETIME;
        for id in [part, copy] {
            File::options().write(true).open(folder.bytes(id)).unwrap().set_modified(before).unwrap();
        }
        let lock = folder.open(copy).unwrap();
        assert_eq!(folder.sweep(LIFETIME).unwrap(), 0, "it is under way");
        drop(lock);
        assert_eq!(folder.sweep(LIFETIME).unwrap(), 1);
        assert!(folder.plan(copy).unwrap().is_none() && folder.plan(part).unwrap().is_some());
    }
}
