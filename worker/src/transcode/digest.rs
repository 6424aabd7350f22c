//! Size and hash of the output.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::io_failure;
use crate::queue::Failure;

/// Size and SHA-256 of a file.
pub(super) struct Digest {
    pub(super) size: i64,
    pub(super) sha256: [u8; 32],
}

/// Reads the whole file, on a thread of its own.
pub(super) async fn digest(path: PathBuf) -> Result<Digest, Failure> {
    let digest = spawn_blocking(move || read(&path)).await;
    digest
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| io_failure("read the output", &error))
}

fn read(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest { size, sha256: hasher.finalize().into() }),
            read => {
                hasher.update(&buffer[..read]);
                size += read as i64;
            }
        }
    }
}
