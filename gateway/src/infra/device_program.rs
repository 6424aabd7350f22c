//! The `nebulactl` that stands beside the gateway's own program: devices fetch it, and invitations name its
//! checksum.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

/// Name of the program, in the gateway's folder.
const NAME: &str = "nebulactl";

/// The program, and its checksum as of the file that was read last.
#[derive(Debug)]
pub(crate) struct DeviceProgram {
    path: PathBuf,
    known: Mutex<Option<Known>>,
}

/// A file by what changes when an update puts another one in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    modified: SystemTime,
}

#[derive(Debug, Clone)]
struct Known {
    version: Version,
    sha256: String,
}

/// An open program: its content has this checksum, even when the file is replaced meanwhile.
#[derive(Debug)]
pub(crate) struct OpenProgram {
    pub(crate) file: File,
    pub(crate) length: u64,
    /// Hexadecimal.
    pub(crate) sha256: String,
}

impl DeviceProgram {
    /// The program in the folder of the running one.
    pub(crate) fn beside_gateway() -> io::Result<Self> {
        let own = env::current_exe()?;
        Ok(Self::at(own.parent().unwrap_or(Path::new("/")).join(NAME)))
    }

    fn at(path: PathBuf) -> Self {
        Self { path, known: Mutex::new(None) }
    }

    /// Opens it; none if there is none. Reads it whole when it has changed.
    pub(crate) async fn open(self: &Arc<Self>) -> io::Result<Option<OpenProgram>> {
        let this = Arc::clone(self);
        spawn_blocking(move || this.open_blocking()).await?
    }

    fn open_blocking(&self) -> io::Result<Option<OpenProgram>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let metadata = file.metadata()?;
        let (inode, length, modified) = (metadata.ino(), metadata.len(), metadata.modified()?);
        let version = Version { inode, length, modified };
        // Held while the file is read, so that a crowd of callers reads it once.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let sha256 = match known.as_ref().filter(|known| known.version == version) {
            Some(known) => known.sha256.clone(),
            None => {
                let sha256 = checksum(&file)?;
                *known = Some(Known { version, sha256: sha256.clone() });
                sha256
            }
        };
        Ok(Some(OpenProgram { file, length, sha256 }))
    }
}

/// Reads the file whole, and leaves its position at the start.
fn checksum(mut file: &File) -> io::Result<String> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => hasher.update(&piece[..length]),
        }
    }
    file.rewind()?;
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_of_the_bytes_that_are_sent_also_after_an_update() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let program = DeviceProgram::at(path.clone());
        assert!(program.open_blocking().unwrap().is_none());
        std::fs::write(&path, "one").unwrap();
        let first = program.open_blocking().unwrap().unwrap();
        std::fs::write(folder.path().join("new"), "two!").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        let second = program.open_blocking().unwrap().unwrap();
        let again = program.open_blocking().unwrap().unwrap();
        for (mut opened, content) in [(first, "one"), (second, "two!"), (again, "two!")] {
            let mut text = String::new();
            opened.file.read_to_string(&mut text).unwrap();
            assert_eq!(text, content);
            assert_eq!(opened.sha256, hex::encode(Sha256::digest(content)));
            assert_eq!(opened.length, content.len() as u64);
        }
    }
}
