//! The last endpoints of peers, on disk. An interface that is made anew gets them back, so that the node starts
//! the handshakes: a client that waits for an answer needs 15 s to start one itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::agent::state;
use crate::error::Result;

const FILE: &str = "endpoints.json";
/// A changed endpoint is written this much later at most, so that roaming peers do not keep the disk busy.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);

pub(super) struct Endpoints {
    path: PathBuf,
    known: BTreeMap<Uuid, SocketAddr>,
    changed: bool,
    saved_at: Option<Instant>,
}

impl Endpoints {
    /// A file that cannot be read counts as empty: it only saves time.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let known = state::read(&path).ok().flatten().unwrap_or_default();
        Self { path, known, changed: false, saved_at: None }
    }

    pub(super) fn known(&self) -> &BTreeMap<Uuid, SocketAddr> {
        &self.known
    }

    pub(super) fn note(&mut self, peer_id: Uuid, endpoint: SocketAddr) {
        self.changed |= self.known.insert(peer_id, endpoint) != Some(endpoint);
    }

    /// Forgets peers that are wanted nowhere.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&Uuid) -> bool) {
        let before = self.known.len();
        self.known.retain(|peer_id, _| is_wanted(peer_id));
        self.changed |= before != self.known.len();
    }

    /// Writes the file if something changed and the last time is long enough ago.
    pub(super) fn save(&mut self) -> Result<()> {
        if !self.changed || self.saved_at.is_some_and(|at| at.elapsed() < SAVE_INTERVAL) {
            return Ok(());
        }
        state::write(&self.path, &self.known)?;
        (self.changed, self.saved_at) = (false, Some(Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_survive_and_are_not_written_with_every_packet() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = [1, 2].map(Uuid::from_u128);
        let mut endpoints = Endpoints::open(folder.path());
        endpoints.note(one, "192.0.2.7:1".parse().unwrap());
        endpoints.save().unwrap();
        endpoints.note(one, "192.0.2.7:2".parse().unwrap());
        endpoints.note(two, "[2001:db8::1]:9".parse().unwrap());
        endpoints.save().unwrap();
        assert_eq!(Endpoints::open(folder.path()).known[&one].port(), 1);
        endpoints.saved_at = endpoints.saved_at.and_then(|at| at.checked_sub(SAVE_INTERVAL));
        endpoints.retain(|peer_id| *peer_id == two);
        endpoints.save().unwrap();
        let read = Endpoints::open(folder.path());
        assert_eq!(read.known, BTreeMap::from([(two, "[2001:db8::1]:9".parse().unwrap())]));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Endpoints::open(folder.path()).known.is_empty());
    }
}
