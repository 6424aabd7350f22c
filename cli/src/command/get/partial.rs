//! `NAME.part`: what has arrived of a download, locked, hashed, and renamed when it is whole.

use std::fs::{self, File as DiskFile, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use openssl::sha::Sha256;
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::{STALL_TIMEOUT, Wanted, ask};
use crate::client::{Client, root_cause};
use crate::error::{Code, Doing, Error, Result};

/// The part that has arrived, locked against other processes.
pub(super) struct PartialFile {
    path: PathBuf,
    file: DiskFile,
    length: u64,
    hash: Sha256,
}

impl PartialFile {
    pub(super) fn open(target: &Path) -> Result<Self> {
        let path = part_path(target);
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let file = file.doing(|| format!("write {}", path.display()))?;
        file.try_lock().map_err(|_| {
            Error::new(
                Code::WrongState,
                format!("{} is being downloaded by another nebulactl", target.display()),
            )
            .hint("Wait for it, or name another file with --output.")
        })?;
        Ok(Self { path, file, length: 0, hash: Sha256::new() })
    }

    /// Downloads the rest.
    pub(super) async fn fill(&mut self, client: &Client, wanted: &Wanted, bar: &ProgressBar) -> Result<()> {
        bar.set_position(self.length);
        if self.length == wanted.size {
            return Ok(());
        }
        let response = ask(client, wanted, self.length).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            self.empty()?;
        }
        bar.set_position(self.length);
        self.receive(response, wanted, bar).await
    }

    /// Bytes that are here.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    async fn receive(&mut self, mut response: Response, wanted: &Wanted, bar: &ProgressBar) -> Result<()> {
        let broken = |reason: String| {
            Error::new(Code::Unreachable, format!("the download broke off: {reason}"))
                .hint("Run the same command again; it goes on where it stopped.")
        };
        loop {
            let next = timeout(STALL_TIMEOUT, response.chunk()).await;
            let next = next.map_err(|_| broken(format!("nothing came for {} s", STALL_TIMEOUT.as_secs())))?;
            let Some(chunk) = next.map_err(|error| broken(root_cause(&error)))? else { break };
            self.file.write_all(&chunk).doing(|| format!("write {}", self.path.display()))?;
            self.hash.update(&chunk);
            self.length += chunk.len() as u64;
            bar.set_position(self.length);
            if self.length > wanted.size {
                break;
            }
        }
        if self.length < wanted.size {
            Err(broken("the server closed the connection".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Hashes the bytes that earlier downloads have left.
    pub(super) fn resume(&mut self, limit: u64) -> Result<()> {
        let mut read = || {
            self.file.rewind()?;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match self.file.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => {
                        self.hash.update(&buffer[..count]);
                        self.length += count as u64;
                    }
                }
            }
        };
        read().doing(|| format!("read {}", self.path.display()))?;
        if self.length > limit { self.empty() } else { Ok(()) }
    }

    fn empty(&mut self) -> Result<()> {
        (self.length, self.hash) = (0, Sha256::new());
        self.file.set_len(0).doing(|| format!("write {}", self.path.display()))
    }

    /// Verifies the checksum and renames the file to its final name.
    pub(super) fn finish(self, wanted: &Wanted, target: &Path) -> Result<()> {
        if hex::encode(self.hash.clone().finish()) != wanted.sha256 {
            // The next try verifies a part that could not be removed.
            let _ = fs::remove_file(&self.path);
            let detail = format!("what arrived is not \"{}\": its checksum differs", wanted.name);
            return Err(Error::new(Code::Damaged, detail).hint("It was removed; run the same command again."));
        }
        self.file.sync_all().doing(|| format!("write {}", self.path.display()))?;
        fs::rename(&self.path, target).doing(|| format!("write {}", target.display()))
    }
}

/// Longest name that file systems take.
const MAX_NAME: usize = 255;
const SUFFIX: &str = ".part";

/// `NAME.part`. A name that leaves no room for the suffix gives its end to a hash of itself, so that two long
/// names have two parts.
fn part_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let mut part = name.to_owned();
    if name.len() + SUFFIX.len() > MAX_NAME {
        let hash = hex::encode(&openssl::sha::sha256(name.as_encoded_bytes())[..8]);
        let text = name.to_string_lossy();
        let kept = text.floor_char_boundary(MAX_NAME - SUFFIX.len() - hash.len() - 1);
        part = format!("{}~{hash}", &text[..kept]).into();
    }
    part.push(SUFFIX);
    target.with_file_name(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_long_names_fit_into_a_folder_and_are_told_apart() {
        assert_eq!(part_path(Path::new("a/film.mkv")), Path::new("a/film.mkv.part"));
        assert_eq!(part_path(Path::new(&"x".repeat(250))).as_os_str().len(), 255);
        let folder = tempfile::tempdir().unwrap();
        for name in ["x".repeat(251), "x".repeat(255), "…".repeat(85), format!("{}y", "x".repeat(254))] {
            let path = part_path(&folder.path().join(name));
            assert!(path.file_name().unwrap().to_str().unwrap().ends_with(SUFFIX), "{}", path.display());
            fs::write(path, "half").unwrap();
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 4);
    }
}
