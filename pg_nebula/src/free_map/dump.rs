//! Dump of the map at shutdown, and its restore at the next start, so that allocations need not wait for
//! pages.
//!
//! The last process of the server writes the file after all others have ended; the first process of the next
//! start reads and removes it. The dump is used only if the tables cannot have changed in between: same
//! cluster, same shutdown checkpoint, no recovery. After a crash there is no file, and pages are read as they
//! are needed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nebula_core::fnv::Fnv1a;
use pgrx::prelude::*;

use crate::pg::control_file::{ShutdownState, shutdown_state};

/// In the folder where the server keeps its statistics between two runs.
const PATH: &str = "pg_stat/pg_nebula.map";
/// First bytes of the file. The version stands for the layout of the map in memory, which may differ between
/// releases.
const MAGIC: &str = concat!("pg_nebula map ", env!("CARGO_PKG_VERSION"), "\n");
/// Bytes written or skipped at once.
const CHUNK: usize = 8192;

/// The state of the cluster in which the map agreed with the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ClusterState {
    shutdown: ShutdownState,
    bytes: u64,
}

impl ClusterState {
    /// `None` unless the cluster was shut down cleanly, as a primary.
    fn at_shutdown(bytes: usize) -> Option<Self> {
        let recovers = ["standby.signal", "recovery.signal"].iter().any(|name| Path::new(name).exists());
        let shutdown = shutdown_state().filter(|_| !recovers)?;
        Some(Self { shutdown, bytes: bytes as u64 })
    }

    fn to_header(self, checksum: u64) -> Vec<u8> {
        let numbers = [self.shutdown.cluster, self.shutdown.checkpoint, self.bytes, checksum];
        MAGIC.bytes().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }
}

/// Detects a file that was written only in part, as by a power failure.
fn checksum(region: &[u8]) -> u64 {
    let words =
        region.chunks(8).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    words.fold(Fnv1a::EMPTY, Fnv1a::word).finish()
}

/// Writes the region. Called by the last process of the server; after a failure the next start begins with an
/// empty map.
pub(super) fn save(region: &[u8]) {
    let Some(state) = ClusterState::at_shutdown(region.len()) else { return };
    let write = || -> io::Result<()> {
        let draft = format!("{PATH}.tmp");
        let mut file = File::create(&draft)?;
        let header = state.to_header(checksum(region));
        file.write_all(&header)?;
        for chunk in region.chunks(CHUNK) {
            // Most of a map is empty. Holes in the file take neither time nor space.
            if chunk.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(chunk.len() as i64))?;
            } else {
                file.write_all(chunk)?;
            }
        }
        file.set_len((header.len() + region.len()) as u64)?;
        fs::rename(draft, PATH)
    };
    if let Err(error) = write() {
        log!("pg_nebula could not dump its map to {PATH}: {error}");
    }
}

/// Reads the region; `false`: the dump must not be used, and the content of `region` is undefined.
pub(super) fn restore(region: &mut [u8]) -> bool {
    let Ok(mut file) = File::open(PATH) else { return false };
    // Removed before it is read: as soon as the server runs, the dump is out of date.
    if fs::remove_file(PATH).is_err() {
        return false;
    }
    let Some(state) = ClusterState::at_shutdown(region.len()) else { return false };
    let mut header = vec![0; state.to_header(0).len()];
    let read = file.read_exact(&mut header).and_then(|()| file.read_exact(region));
    read.is_ok() && header == state.to_header(checksum(region))
}
