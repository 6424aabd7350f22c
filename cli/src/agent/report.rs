//! The state of the device: reported to the gateway, and saved for `nebulactl status`.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_api::agent::{PeerReport, Refused, Report, SyncthingReport};
use serde::{Deserialize, Serialize};

use super::journal::log;
use super::node_sync::NodeSync;
use super::resolver::NamesStatus;
use super::update::nonce;
use super::wireguard::NodeStatus;
use super::{Agent, health, state};
use crate::error::{Error, Result};

const STATUS: &str = "status.json";
/// The status file is rewritten after this time even without changes.
const MAX_STATUS_AGE: TimeDelta = TimeDelta::seconds(30);

/// The saved state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) updated_at: Option<DateTime<Utc>>,
    /// Counter of the configuration that nebula runs.
    pub(crate) counter: Option<u64>,
    pub(crate) nebula_pid: Option<u32>,
    pub(crate) nebula_version: Option<String>,
    /// Start time of nebula.
    pub(crate) nebula_since: Option<DateTime<Utc>>,
    /// A configuration that nebula refused.
    pub(crate) refused: Option<Refused>,
    pub(crate) peers: Vec<PeerStatus>,
    pub(crate) syncthing: Option<SyncthingReport>,
    /// The resolver of this machine, if the project has a domain.
    pub(crate) names: Option<NamesStatus>,
    /// WireGuard interfaces, if this device represents a node.
    pub(crate) node: Option<NodeStatus>,
    pub(crate) contact: Contact,
}

/// A tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PeerStatus {
    /// Name in the certificate.
    pub(crate) name: String,
    /// Overlay address.
    pub(crate) address: String,
    /// All overlay addresses that nebula has named, the first one included.
    pub(crate) addresses: Vec<String>,
    /// Address on the underlay, or the relay.
    pub(crate) remote: Option<String>,
    pub(crate) handshake_at: Option<DateTime<Utc>>,
    /// Bytes received since the agent started to count, where it can.
    pub(crate) received_bytes: Option<u64>,
    pub(crate) sent_bytes: Option<u64>,
}

/// The connection to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Contact {
    /// Time of the last response.
    pub(crate) at: Option<DateTime<Utc>>,
    /// Error of the last call.
    pub(crate) error: Option<String>,
}

impl Contact {
    /// Records that a call was answered.
    pub(super) fn reached(&mut self) {
        if self.error.take().is_some() {
            log("the gateway answers again");
        }
        self.at = Some(Utc::now());
    }

    /// Records a failed call; returns whether the error is new.
    pub(super) fn lost(&mut self, error: &Error) -> bool {
        let text = error.to_string();
        self.error.replace(text.clone()) != Some(text)
    }
}

impl Agent {
    /// Sends a report, and stores the gateway's instruction about Syncthing; returns whether the gateway
    /// answers again after a failure. A failed report is not repeated, because the next one follows soon.
    pub(super) async fn report(&mut self) -> bool {
        let had_failed = self.contact.error.is_some();
        let report = match self.compose() {
            Ok(report) => report,
            Err(error) => {
                log(&error.to_string());
                return false;
            }
        };
        let Ok(credential) = self.credential().cloned() else { return false };
        match self.gateway.status(&credential, &report).await {
            Ok(instruction) => {
                self.contact.reached();
                self.instruction = Some(instruction);
            }
            Err(error) => self.note_failure(&error, credential.counter),
        }
        self.save_status();
        had_failed && self.contact.error.is_none()
    }

    /// Reads nebula's log, Syncthing and the byte counters; returns whether a report is due.
    pub(super) async fn refresh_status(&mut self) -> bool {
        let overlay = self.identity.host.ip_address.clone();
        let mut changed = false;
        if let Some(syncthing) = &mut self.syncthing {
            changed = syncthing.update(&overlay, self.instruction.as_ref()).await;
        }
        self.traffic.refresh(&self.identity.network.cidrs).await;
        self.nebula.follow_journal().await;
        if self.nebula.is_running() {
            self.resolver.update(self.identity.network.names.as_ref()).await;
        }
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

    /// Saves the status if it changed or has become too old; not every two seconds, to spare the disk.
    fn save_status(&mut self) -> &Status {
        let runs = self.nebula.is_running();
        let peers = self.nebula.log().peers().iter().map(|(address, peer)| PeerStatus {
            name: peer.name.clone(),
            address: address.clone(),
            addresses: peer.addresses.clone(),
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
            names: self.resolver.status(self.identity.network.names.as_ref()),
            node: self.node.as_ref().and_then(NodeSync::status),
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
        let is_stale =
            |last: &Status| last.updated_at.is_none_or(|at| status.updated_at > Some(at + MAX_STATUS_AGE));
        if self
            .last
            .as_ref()
            .is_none_or(|last| is_stale(last) || without_times(last) != without_times(&status))
        {
            // For display only; the next write may succeed.
            let _ = self.folder.save(STATUS, &status);
            self.last = Some(status);
        }
        self.last.get_or_insert_default()
    }
}

/// Changes of these values are reported at once.
fn reportable(status: &Status) -> (Vec<String>, Option<u64>, Option<u32>, Option<Refused>) {
    let peers = status.peers.iter().map(|peer| peer.address.clone()).collect();
    (peers, status.counter, status.nebula_pid, status.refused.clone())
}

/// Reads the status that the agent of this folder has saved.
pub(crate) fn last(folder: &Path) -> Result<Option<Status>> {
    state::read(&folder.join(STATUS))
}
