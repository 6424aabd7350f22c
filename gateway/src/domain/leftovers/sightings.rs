//! When objects that belong to no file were first found. The age of the object itself says nothing: in the
//! database of an older backup, files of any age have no row until the newest backup is restored.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// In the staging folder, so that a restart of the gateway does not begin anew.
const FILE: &str = "orphans.json";

/// Keys of objects with the time of their discovery, in seconds since the start of 1970.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sightings {
    first: BTreeMap<String, u64>,
}

fn path(staging: &Path) -> PathBuf {
    staging.join(FILE)
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Sightings {
    /// Those of the last count. A file that cannot be read counts as empty: then objects are kept for longer.
    pub(super) fn read(staging: &Path) -> Self {
        let text = std::fs::read(path(staging)).unwrap_or_default();
        Self { first: serde_json::from_slice(&text).unwrap_or_default() }
    }

    /// Replaces the file in one step.
    pub(super) fn write(&self, staging: &Path) -> io::Result<()> {
        let new = path(staging).with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&self.first)?)?;
        std::fs::rename(new, path(staging))
    }

    /// Takes over when an object was first found, or notes that it was now; returns how long ago that is.
    pub(super) fn found(&mut self, before: &Self, key: &str, now: SystemTime) -> Duration {
        let now = seconds(now);
        let first = before.first.get(key).copied().unwrap_or(now).min(now);
        self.first.insert(key.to_owned(), first);
        Duration::from_secs(now - first)
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.first.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_discovery_outlives_the_gateway_and_ends_with_the_orphan() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second: u64| UNIX_EPOCH + Duration::from_secs(second);
        let mut first = Sightings::read(folder.path());
        assert_eq!(first.found(&Sightings::default(), "files/a", at(100)), Duration::ZERO);
        first.found(&Sightings::default(), "files/b", at(100));
        first.write(folder.path()).unwrap();
        let before = Sightings::read(folder.path());
        let mut next = Sightings::default();
        assert_eq!(next.found(&before, "files/a", at(160)), Duration::from_secs(60));
        // A clock that is set back makes nothing older.
        assert_eq!(next.found(&before, "files/a", at(50)), Duration::ZERO);
        next.write(folder.path()).unwrap();
        let mut last = Sightings::default();
        assert_eq!(last.found(&Sightings::read(folder.path()), "files/b", at(200)), Duration::ZERO);
        std::fs::write(path(folder.path()), "{").unwrap();
        assert_eq!(Sightings::read(folder.path()), Sightings::default());
    }
}
