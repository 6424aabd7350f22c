//! WireGuard on a node: interfaces and their peers as the gateway wants them.
//!
//! Every pass starts from what is found and changes only what differs, so that a pass that was broken off at
//! any point is finished by the next one. The wanted state is on disk before it is applied. A generation counts
//! as applied after it has been read back. The firewall is loaded before an interface comes up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nebula_api::node_sync::{NodeReport, NodeState};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::change::Release;
use super::config::Config;
use super::journal::{log, log_error};
use super::nebula::machine::parse_interface;
use super::state;
use crate::atomic_file;
use crate::error::Result;
use desired::{Desired, DesiredInterface, Leaving};
use endpoints::Endpoints;
use firewall::Firewall;
use forwarding::Forwarding;
use interface::{Interface, load_key};
use reports::Reports;

mod adopt;
mod backend;
mod delta;
mod desired;
mod endpoints;
mod firewall;
mod forwarding;
mod interface;
mod key;
mod legacy;
mod link;
mod nft;
mod obstacles;
mod reports;

pub(crate) use adopt::OwnInterface;

/// The folder in that of the device.
pub(crate) const FOLDER: &str = "wireguard";
const STATE: &str = "state.json";
/// Interval of checking all that reading an interface does not show: addresses, routes, firewall.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// An interface with an error is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Reading takes at most one part in this many of a core.
const READ_SHARE: u32 = 400;
const MIN_READ_INTERVAL: Duration = Duration::from_millis(100);
const MAX_READ_INTERVAL: Duration = Duration::from_secs(5);
/// For this long after a change, peers are expected to appear, and reading may cost more: routes follow the first
/// handshake of a peer that moves here, which is cut off until then.
const LIVELY: Duration = Duration::from_secs(600);
const LIVELY_READ_SHARE: u32 = 100;
const MAX_LIVELY_INTERVAL: Duration = Duration::from_secs(1);

/// The interfaces of a node, for `nebulactl status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    pub(crate) interfaces: Vec<InterfaceStatus>,
    /// Faults that keep the machine from forwarding, each with the command that helps.
    pub(crate) obstacles: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InterfaceStatus {
    pub(crate) name: String,
    pub(crate) listen_port: u16,
    /// Whether the kernel runs it, and not wireguard-go.
    pub(crate) in_kernel: bool,
    pub(crate) generation: i64,
    pub(crate) applied: i64,
    pub(crate) peers: usize,
    /// Peers with a handshake in the last three minutes.
    pub(crate) online: usize,
    /// Peers that differ from what is wanted.
    pub(crate) drift: usize,
    pub(crate) error: Option<String>,
}

/// All that a node does with WireGuard.
pub(super) struct Node {
    /// The folder of the device, whose configuration names nebula's interface.
    device_folder: PathBuf,
    folder: PathBuf,
    desired: Desired,
    /// The part of `desired` that changes by itself, as it was last saved.
    saved: Vec<(i64, Uuid, Option<String>, usize)>,
    interfaces: BTreeMap<Uuid, Interface>,
    /// Interfaces whose whole state must be asked for.
    incomplete: BTreeSet<Uuid>,
    endpoints: Endpoints,
    firewall: Firewall,
    reports: Reports,
    checked_at: Option<Instant>,
    read_at: Option<Instant>,
    /// How long the last reading took.
    read_cost: Duration,
    /// When something was last wanted otherwise.
    changed_at: Option<Instant>,
    /// Whether the interfaces were looked at since the last question for news.
    looked: bool,
}

impl Node {
    /// Reads what the interfaces are to run. A damaged file counts as missing, because the gateway sends all
    /// of it again.
    pub(super) fn open(device_folder: &Path, release: Release) -> Result<Self> {
        let folder = device_folder.join(FOLDER);
        let desired = state::read(&folder.join(STATE)).unwrap_or_else(|error| {
            log_error(&error);
            None
        });
        Ok(Self {
            device_folder: device_folder.to_owned(),
            desired: desired.unwrap_or_default(),
            saved: Vec::new(),
            interfaces: BTreeMap::new(),
            incomplete: BTreeSet::new(),
            endpoints: Endpoints::open(&folder),
            firewall: Firewall::new(Forwarding::open(&folder)?, release),
            reports: Reports::default(),
            folder,
            checked_at: None,
            read_at: None,
            read_cost: Duration::ZERO,
            changed_at: None,
            looked: false,
        })
    }

    /// Whether there is nothing to run and nothing to remove.
    pub(super) fn is_idle(&self) -> bool {
        self.desired.interfaces.is_empty() && self.desired.leaving.is_empty()
    }

    /// Takes over an answer of the gateway; returns whether something changed.
    pub(super) fn accept(&mut self, answer: NodeState) -> Result<bool> {
        let mut next = self.desired.clone();
        let merged = next.merge(answer)?;
        self.incomplete = merged.incomplete;
        if !merged.changed {
            return Ok(false);
        }
        next.leaving.extend(merged.removed.into_iter().map(Leaving::from));
        atomic_file::create_private_dir(&self.folder)?;
        for interface in &mut next.interfaces {
            // Reported even when the interface cannot come up.
            let public = load_key(&self.folder, interface)?.public()?.to_string();
            interface.reported_key = Some(public);
        }
        state::write(&self.folder.join(STATE), &next)?;
        self.desired = next;
        self.changed_at = Some(Instant::now());
        self.saved.clear();
        Ok(true)
    }

    /// Brings everything to what is wanted.
    pub(super) async fn apply(&mut self) {
        self.remove_leaving().await;
        let wanted: BTreeSet<Uuid> =
            self.desired.interfaces.iter().map(|one| one.state.interface_id).collect();
        self.interfaces.retain(|id, _| wanted.contains(id));
        let overlay = overlay_interface(&self.device_folder);
        let guarded = self.firewall.apply(&self.desired, overlay.as_deref()).await;
        for desired in &mut self.desired.interfaces {
            let interface = self.interfaces.entry(desired.state.interface_id).or_default();
            match &guarded {
                Ok(()) => interface.apply(desired, &self.folder, &mut self.endpoints).await,
                Err(error) => interface.fail(error),
            }
        }
        let now = Instant::now();
        (self.checked_at, self.read_at, self.looked) = (Some(now), Some(now), true);
        self.save();
    }

    /// Looks after the interfaces; called ten times a second.
    pub(super) async fn tick(&mut self) {
        if self.is_idle() {
            return;
        }
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.elapsed());
        let has_error = self.interfaces.values().any(Interface::has_error);
        let checked = since(self.checked_at);
        let gone = self.pairs().any(|(interface, desired)| interface.is_gone(desired));
        if gone || checked > CHECK_INTERVAL || (has_error && checked > RETRY_INTERVAL) {
            return self.apply().await;
        }
        let read_interval = read_interval(self.read_cost, since(self.changed_at) < LIVELY);
        if since(self.read_at) < read_interval || has_error {
            return;
        }
        let started = Instant::now();
        let mut again = false;
        for desired in &self.desired.interfaces {
            let Some(interface) = self.interfaces.get_mut(&desired.state.interface_id) else { continue };
            // A failed reading is followed by a pass, which says what is wrong.
            again |= interface.watch(desired, &mut self.endpoints).await.unwrap_or(true);
        }
        (self.read_at, self.looked, self.read_cost) = (Some(started), true, started.elapsed());
        if again {
            self.apply().await;
        } else {
            self.save();
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&Interface, &DesiredInterface)> {
        let wanted = self.desired.interfaces.iter();
        wanted.filter_map(|desired| Some((self.interfaces.get(&desired.state.interface_id)?, desired)))
    }

    /// Writes what has changed; a failure is repeated by the next pass.
    fn save(&mut self) {
        let peers = self.desired.interfaces.iter().flat_map(|one| &one.state.peers);
        let wanted: BTreeSet<Uuid> = peers.map(|peer| peer.peer_id).collect();
        self.endpoints.retain(|peer_id| wanted.contains(peer_id));
        let parts =
            |one: &DesiredInterface| (one.applied, one.counters, one.public_key.clone(), one.pending.len());
        let now: Vec<_> = self.desired.interfaces.iter().map(parts).collect();
        let mut written = self.endpoints.save();
        if now != self.saved {
            written = written.and(state::write(&self.folder.join(STATE), &self.desired));
            self.saved = now;
        }
        if let Err(error) = written {
            self.saved.clear();
            log_error(&error);
        }
    }

    /// Removes interfaces that are not wanted any more, and their firewall.
    async fn remove_leaving(&mut self) {
        if self.desired.leaving.is_empty() {
            return;
        }
        let mut left = Vec::new();
        for leaving in std::mem::take(&mut self.desired.leaving) {
            match remove(&leaving).await {
                Ok(()) => {
                    let is_wanted = |one: &DesiredInterface| one.state.interface_id == leaving.interface_id;
                    if !self.desired.interfaces.iter().any(is_wanted) {
                        let path = self.folder.join(format!("{}.key", leaving.interface_id));
                        // A key that stays is used again if the interface comes back.
                        let _ = atomic_file::remove_if_exists(&path);
                    }
                    log(&format!("{} is removed", leaving.name));
                }
                Err(error) => {
                    log_error(&error);
                    left.push(leaving);
                }
            }
        }
        self.desired.leaving = left;
        self.saved.clear();
    }

    /// The next report; its nonce and wait are the caller's.
    pub(super) fn report(&self) -> NodeReport {
        self.reports.compose(&self.desired, &self.interfaces, &self.incomplete, self.firewall.obstacles())
    }

    /// A report is on its way.
    pub(super) fn sent(&mut self, report: &NodeReport) {
        self.reports.sent(report);
    }

    /// A report may not have arrived.
    pub(super) fn lost(&mut self, report: &NodeReport) {
        self.reports.lost(report);
    }

    /// The last report was answered.
    pub(super) fn reported(&mut self) {
        for desired in &self.desired.interfaces {
            if let Some(interface) = self.interfaces.get_mut(&desired.state.interface_id) {
                interface.forget_mended(desired.state.repair);
            }
        }
    }

    /// Whether the interfaces were looked at since the last call of this, and something is to be reported at
    /// once.
    pub(super) fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.looked) && self.reports.is_news(&self.report())
    }

    pub(super) fn status(&self) -> Option<NodeStatus> {
        if self.desired.interfaces.is_empty() {
            return None;
        }
        let interfaces = self.pairs().map(|(interface, desired)| reports::status(interface, desired));
        Some(NodeStatus { interfaces: interfaces.collect(), obstacles: self.firewall.obstacles().to_vec() })
    }
}

/// Time from one reading to the next, by what the last one cost.
fn read_interval(cost: Duration, is_lively: bool) -> Duration {
    let (share, longest) =
        if is_lively { (LIVELY_READ_SHARE, MAX_LIVELY_INTERVAL) } else { (READ_SHARE, MAX_READ_INTERVAL) };
    (cost * share).clamp(MIN_READ_INTERVAL, longest)
}

/// Removes the link of an interface if it is the agent's, and its firewall.
async fn remove(leaving: &Leaving) -> Result<()> {
    if let (Some(kind), Some(public_key)) = (link::find(&leaving.name), &leaving.public_key)
        && kind != link::Kind::Other
    {
        let found = link::client(&leaving.name, kind)?.read().await?.public_key;
        if found.is_some_and(|found| found.to_string() == *public_key) {
            link::remove(&leaving.name).await?;
        }
    }
    firewall::remove(&leaving.name).await
}

/// Removes all that an agent of this folder has made: interfaces, firewall, forwarding.
pub(crate) async fn take_back(device_folder: &Path) -> Result<()> {
    let folder = device_folder.join(FOLDER);
    let desired: Desired = state::read(&folder.join(STATE))?.unwrap_or_default();
    let interfaces = desired.interfaces.into_iter().map(Leaving::from);
    for leaving in interfaces.chain(desired.leaving) {
        remove(&leaving).await?;
    }
    if folder.exists() {
        Forwarding::open(&folder)?.put_back()?;
    }
    Ok(())
}

/// Name of nebula's interface in the current configuration.
fn overlay_interface(device_folder: &Path) -> Option<String> {
    let text = state::current_config(device_folder).ok()??;
    parse_interface(Config::parse(&text).ok()?.interface()).ok()
}
