//! Attempts to open the pairs of the folder, and when another one is due.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::keyring_error::KeyringError;

/// Pause before a pair is tried again whose token or file was away; it doubles each time.
const PAUSE: Duration = Duration::from_secs(30);
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Times and sizes of the files of a pair.
pub(super) type Stamps = [Option<(SystemTime, u64)>; 3];

/// A pair of the folder as it was when it was looked at. It is looked at again when it has changed.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) stamps: Stamps,
    pub(super) usable: bool,
    /// Since it changed.
    pub(super) count: u32,
    /// When it is looked at again although it has not changed.
    pub(super) retry_at: Option<Instant>,
}

impl Attempt {
    pub(super) fn is_due(&self) -> bool {
        self.retry_at.is_some_and(|at| at <= Instant::now())
    }

    /// Remembers an attempt. Logs the first one if it fails, and a later one that succeeds.
    pub(super) fn report(
        cert: &Path,
        stamps: Stamps,
        opened: &Result<(), KeyringError>,
        before: Option<&Self>,
    ) -> Self {
        let count = before.map_or(0, |before| before.count) + 1;
        let pause = match opened {
            Ok(()) => {
                if count > 1 {
                    tracing::info!(cert = %cert.display(), "an authority that was left out can be used now");
                }
                None
            }
            Err(problem) if problem.is_passing() => {
                if count == 1 {
                    tracing::error!(%problem, "an authority is left out, and tried again from time to time");
                }
                Some(MAX_PAUSE.min(PAUSE * 2_u32.saturating_pow(count - 1)))
            }
            Err(problem) => {
                tracing::error!(%problem, "an authority is left out until its files change");
                None
            }
        };
        Self { stamps, usable: opened.is_ok(), count, retry_at: pause.map(|pause| Instant::now() + pause) }
    }
}

/// Times and sizes of the files of a pair.
pub(super) fn stamps(cert: &Path) -> Stamps {
    ["crt", "key", "uri"].map(|kind| {
        let metadata = fs::metadata(cert.with_extension(kind)).ok()?;
        // Of the inode, so that a key whose mode was put right is tried again.
        let changed = Duration::from_nanos(metadata.ctime_nsec().unsigned_abs())
            + Duration::from_secs(metadata.ctime().unsigned_abs());
        Some((SystemTime::UNIX_EPOCH + changed, metadata.len()))
    })
}
