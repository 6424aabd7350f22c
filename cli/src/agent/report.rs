//! How the device is: told to the gateway in a Status message, and kept beside it for `nebulactl status`.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_api::agent::{PeerReport, Refused, Report, SyncthingReport};
use serde::{Deserialize, Serialize};

use super::journal::log;
use super::update::nonce;
use super::{Agent, health, state};
use crate::error::{Error, Result};

const STATUS: &str = "status.json";
/// After this the file is written again although nothing has changed.
const MAX_STATUS_AGE: TimeDelta = TimeDelta::seconds(30);

/// What the agent last knew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    /// When this was written.
    pub(crate) updated_at: Option<DateTime<Utc>>,
    /// Counter of the configuration that nebula runs.
    pub(crate) counter: Option<u64>,
    /// Process of nebula.
    pub(crate) nebula_pid: Option<u32>,
    /// Its version.
    pub(crate) nebula_version: Option<String>,
    /// Since when it runs.
    pub(crate) nebula_since: Option<DateTime<Utc>>,
    /// A configuration it would not take.
    pub(crate) refused: Option<Refused>,
    /// Tunnels.
    pub(crate) peers: Vec<Peer>,
    /// Syncthing.
    pub(crate) syncthing: Option<SyncthingReport>,
    /// The way to the gateway.
    pub(crate) contact: Contact,
}

/// A tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Peer {
    /// Name in its certificate.
    pub(crate) name: String,
    /// Overlay address.
    pub(crate) address: String,
    /// Where it is on the underlay, or the relay in between.
    pub(crate) remote: Option<String>,
    /// When the tunnel was made.
    pub(crate) handshake_at: Option<DateTime<Utc>>,
    /// Bytes received from it since the agent began to count, if it can.
    pub(crate) received_bytes: Option<u64>,
    /// Bytes sent to it.
    pub(crate) sent_bytes: Option<u64>,
}

/// How it goes with the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Contact {
    /// Last answer.
    pub(crate) at: Option<DateTime<Utc>>,
    /// Why the last call failed.
    pub(crate) error: Option<String>,
}

impl Contact {
    /// A call was answered.
    pub(super) fn reached(&mut self) {
        if self.error.take().is_some() {
            log("the gateway answers again");
        }
        self.at = Some(Utc::now());
    }

    /// A call failed; whether that is new.
    pub(super) fn lost(&mut self, error: &Error) -> bool {
        let text = error.to_string();
        self.error.replace(text.clone()) != Some(text)
    }
}

impl Agent {
    /// Reports to the gateway, and does what it says about Syncthing. A report that is not heard is followed by others.
    pub(super) async fn report(&mut self) {
        let report = match self.compose() {
            Ok(report) => report,
            Err(error) => return log(&error.to_string()),
        };
        let Ok(credential) = self.credential().cloned() else { return };
        match self.gateway.status(&credential, &report).await {
            Ok(instruction) => {
                self.contact.reached();
                self.instruction = Some(instruction);
            }
            Err(error) => self.note_failure(&error, credential.counter),
        }
        self.save_status();
    }

    /// Looks at nebula's log and at Syncthing; whether something has changed that the gateway should know.
    pub(super) async fn refresh_status(&mut self) -> bool {
        let overlay = self.identity.host.ip_address.clone();
        let mut changed = false;
        if let Some(syncthing) = &mut self.syncthing {
            changed = syncthing.update(&overlay, self.instruction.as_ref()).await;
        }
        self.traffic.refresh(&self.identity.network.cidrs).await;
        let before = self.last.as_ref().map(reportable);
        let now = reportable(self.save_status());
        changed || before != Some(now)
    }

    fn compose(&mut self) -> Result<Report> {
        let runs = self.nebula.is_running();
        let now = Utc::now();
        let seconds = |since: DateTime<Utc>| (now - since).num_seconds().max(0).unsigned_abs();
        let peers = self.nebula.log().peers().iter().map(|(address, peer)| PeerReport {
            address: address.clone(),
            remote: peer.remote.clone(),
            handshake_seconds_ago: Some(seconds(peer.handshake_at)),
            received_bytes: self.traffic.bytes_of(address).map(|bytes| bytes.received),
            sent_bytes: self.traffic.bytes_of(address).map(|bytes| bytes.sent),
        });
        Ok(Report {
            nonce: nonce()?,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            peers: peers.collect(),
            nebula_version: runs.then(|| self.nebula.version().to_owned()),
            uptime_seconds: self.nebula.since().map(seconds),
            refused: self.refused.clone(),
            syncthing: self.syncthing.as_ref().and_then(|syncthing| syncthing.report().cloned()),
            health: health::of(self.folder.path()),
        })
    }

    /// Writes down how it is; a disk need not hear every two seconds that nothing has changed.
    fn save_status(&mut self) -> &Status {
        let runs = self.nebula.is_running();
        let peers = self.nebula.log().peers().iter().map(|(address, peer)| Peer {
            name: peer.name.clone(),
            address: address.clone(),
            remote: peer.remote.clone(),
            handshake_at: Some(peer.handshake_at),
            received_bytes: self.traffic.bytes_of(address).map(|bytes| bytes.received),
            sent_bytes: self.traffic.bytes_of(address).map(|bytes| bytes.sent),
        });
        let status = Status {
            updated_at: Some(Utc::now()),
            peers: peers.collect(),
            counter: self.running.as_ref().filter(|_| runs).map(state::Generation::counter),
            nebula_pid: self.nebula.pid(),
            nebula_version: Some(self.nebula.version().to_owned()),
            nebula_since: self.nebula.since(),
            refused: self.refused.clone(),
            syncthing: self.syncthing.as_ref().and_then(|syncthing| syncthing.report().cloned()),
            contact: self.contact.clone(),
        };
        let without_times = |status: &Status| {
            let contact = Contact { at: None, ..status.contact.clone() };
            let mut peers = status.peers.clone();
            for peer in &mut peers {
                (peer.received_bytes, peer.sent_bytes) = (None, None);
            }
            Status { updated_at: None, contact, peers, ..status.clone() }
        };
        let age =
            |last: &Status| last.updated_at.is_none_or(|at| status.updated_at > Some(at + MAX_STATUS_AGE));
        if self.last.as_ref().is_none_or(|last| age(last) || without_times(last) != without_times(&status)) {
            // Only for people to read; the next one may succeed.
            let _ = self.folder.save(STATUS, &status);
            self.last = Some(status);
        }
        self.last.get_or_insert_default()
    }
}

/// What the gateway should hear of when it changes.
fn reportable(status: &Status) -> (Vec<String>, Option<u64>, Option<u32>, Option<Refused>) {
    let peers = status.peers.iter().map(|peer| peer.address.clone()).collect();
    (peers, status.counter, status.nebula_pid, status.refused.clone())
}

/// What the agent of this folder last knew.
///
/// # Errors
/// `io_error`, `data_corrupted`.
pub(crate) fn last(folder: &Path) -> Result<Option<Status>> {
    state::read(&folder.join(STATUS))
}
