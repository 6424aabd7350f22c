//! Keeping the map over an orderly restart, so that nobody has to wait until full pages have been read again.
//!
//! The last act of the server is to write it, after everybody else has ended; the first act of the next one is to read
//! it, and to remove the file. It counts only if nothing can have happened in between: the same cluster, the very
//! checkpoint of that shutdown, no recovery. After a crash there is no file, and pages are read as they are needed.
#![expect(unsafe_code, reason = "the cluster's own state is a C structure")]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nebula_core::fnv::Fnv1a;
use pgrx::prelude::*;

/// Beside what the server itself keeps from one run to the next.
const FILE: &str = "pg_stat/pg_nebula.map";
/// What the file begins with: whoever changes what the map looks like in memory changes the release too.
const TITLE: &str = concat!("pg_nebula map ", env!("CARGO_PKG_VERSION"), "\n");
/// Bytes written or skipped at once.
const CHUNK: usize = 8192;

/// When and where the map was in step with the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    cluster: u64,
    checkpoint: u64,
    bytes: u64,
}

impl Stamp {
    /// `None` unless the cluster was shut down in order, as a primary.
    fn now(bytes: usize) -> Option<Self> {
        let mut intact = false;
        // SAFETY: the server has read the same file before it called us; what is answered is ours.
        let control = unsafe { pg_sys::get_controlfile(pg_sys::DataDir, &mut intact).as_ref() }?;
        let recovers = ["standby.signal", "recovery.signal"].iter().any(|name| Path::new(name).exists());
        (intact && control.state == pg_sys::DBState::DB_SHUTDOWNED && !recovers).then_some(Self {
            cluster: control.system_identifier,
            checkpoint: control.checkPoint,
            bytes: bytes as u64,
        })
    }

    fn to_bytes(self, sum: u64) -> Vec<u8> {
        let numbers = [self.cluster, self.checkpoint, self.bytes, sum];
        TITLE.bytes().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }
}

/// A checksum that finds a file which a power cut has torn.
fn sum(region: &[u8]) -> u64 {
    let words =
        region.chunks(8).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    words.fold(Fnv1a::EMPTY, Fnv1a::word).finish()
}

/// Writes the region. Called by the last process of the server; what fails costs the next start some reading.
pub(super) fn save(region: &[u8]) {
    let Some(stamp) = Stamp::now(region.len()) else { return };
    let write = || -> io::Result<()> {
        let draft = format!("{FILE}.tmp");
        let mut file = File::create(&draft)?;
        let head = stamp.to_bytes(sum(region));
        file.write_all(&head)?;
        for chunk in region.chunks(CHUNK) {
            // Most of a map is empty; holes cost neither time nor space.
            if chunk.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(chunk.len() as i64))?;
            } else {
                file.write_all(chunk)?;
            }
        }
        file.set_len((head.len() + region.len()) as u64)?;
        fs::rename(draft, FILE)
    };
    if let Err(error) = write() {
        log!("pg_nebula could not keep its map in {FILE}: {error}");
    }
}

/// Reads the region and answers whether it is as it was left; if not, its content means nothing.
pub(super) fn restore(region: &mut [u8]) -> bool {
    let Ok(mut file) = File::open(FILE) else { return false };
    // Whatever happens from now on, the file is out of date.
    if fs::remove_file(FILE).is_err() {
        return false;
    }
    let Some(stamp) = Stamp::now(region.len()) else { return false };
    let mut head = vec![0; stamp.to_bytes(0).len()];
    let read = file.read_exact(&mut head).and_then(|()| file.read_exact(region));
    read.is_ok() && head == stamp.to_bytes(sum(region))
}
