//! One interface: brought to what is wanted by differences, read back, and watched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nebula_api::node_sync::{Drift, FailedPeer, SeenPeer};
use tokio::time::Instant;
use uuid::Uuid;

use super::backend::{Delta, Observed, PeerChange, Timed};
use super::delta::{self, WantedPeers, changes, differences, failed_peer};
use super::desired::DesiredInterface;
use super::endpoints::Endpoints;
use super::key::{PublicKey, SecretKey};
use super::link;
use crate::agent::journal::{log, log_error};
use crate::error::{Code, Error, Result};

/// After an interface was made anew, the node starts handshakes for this long.
const REVIVAL: Duration = Duration::from_secs(30);
/// More failed peers than this are a fault of the interface.
const MAX_FAILED: usize = 100;
/// Failed peers are tried again after this time.
const RETRY_FAILED: Duration = Duration::from_secs(60);

/// An interface at run time.
#[derive(Default)]
pub(super) struct Interface {
    /// None before it was up.
    client: Option<Timed>,
    kind: Option<link::Kind>,
    key: Option<SecretKey>,
    wanted: WantedPeers,
    error: Option<String>,
    failed: Vec<FailedPeer>,
    failed_keys: BTreeSet<PublicKey>,
    failed_at: Option<Instant>,
    /// Present differences, or those that were mended since the last report.
    drift: BTreeMap<PublicKey, Vec<Drift>>,
    /// Until then, keep-alives that start handshakes stay.
    reviving_until: Option<Instant>,
    seen: HashMap<Uuid, SeenPeer>,
}

/// How an interface is for reports and for `nebulactl status`.
pub(super) struct Condition<'a> {
    pub(super) kind: Option<link::Kind>,
    pub(super) error: Option<&'a str>,
    pub(super) failed: &'a [FailedPeer],
    pub(super) drift: Vec<Drift>,
    pub(super) seen: &'a HashMap<Uuid, SeenPeer>,
}

impl Interface {
    pub(super) fn condition(&self) -> Condition<'_> {
        Condition {
            kind: self.kind,
            error: self.error.as_deref(),
            failed: &self.failed,
            drift: self.drift.values().flatten().cloned().collect(),
            seen: &self.seen,
        }
    }

    pub(super) fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// Sets a fault that is not the interface's own, such as a firewall that cannot be loaded.
    pub(super) fn fail(&mut self, error: &Error) {
        let hint = error.failure().hint.as_deref().map(|hint| format!(". {hint}"));
        let text = format!("{error}{}", hint.unwrap_or_default());
        if self.error.as_ref() != Some(&text) {
            log_error(error);
        }
        self.error = Some(text);
    }

    /// Mended drift was reported.
    pub(super) fn forget_mended(&mut self, repair: bool) {
        if repair {
            self.drift.clear();
        }
    }

    /// Brings the interface to what is wanted. The error stays for reports until this succeeds.
    pub(super) async fn apply(
        &mut self,
        desired: &mut DesiredInterface,
        folder: &Path,
        endpoints: &mut Endpoints,
    ) {
        let started = Instant::now();
        match self.try_apply(desired, folder, endpoints).await {
            Ok(changed) => {
                let DesiredInterface { state, .. } = &*desired;
                if self.error.take().is_some() || changed > 0 || desired.applied != state.generation {
                    log(&format!(
                        "{} runs generation {} with {} peers ({changed} changed, {} failed, {} ms)",
                        state.name,
                        state.generation,
                        self.wanted.len(),
                        self.failed.len(),
                        started.elapsed().as_millis()
                    ));
                }
                desired.applied = state.generation;
                desired.pending.clear();
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Returns the number of peers that were changed.
    async fn try_apply(
        &mut self,
        desired: &mut DesiredInterface,
        folder: &Path,
        endpoints: &mut Endpoints,
    ) -> Result<usize> {
        let key = load_key(folder, desired)?;
        let own = key.public()?;
        // The key in the folder may be another one by now.
        desired.reported_key = Some(own.to_string());
        self.key = Some(key);
        let fresh = self.bring_up(desired, own).await?;
        let (wanted, mut failed) = delta::wanted(desired.state.peers.iter(), Some(own));
        self.wanted = wanted;
        let client = self.client.as_ref().ok_or_else(not_up)?;
        let observed = client.read().await?;
        let pending = desired.pending.iter().filter_map(|key| PublicKey::parse(key)).collect::<BTreeSet<_>>();
        if !fresh {
            let ignored = pending.union(&self.failed_keys).copied().collect();
            note_drift(&mut self.drift, differences(&self.wanted, &observed, &ignored), desired.state.repair);
        }
        let scope = (!desired.state.repair && !fresh).then_some(&pending);
        let peers = changes(&self.wanted, &observed, scope, endpoints.known(), self.is_reviving());
        let changed = peers.len();
        let reasons = send(client, peers).await?;
        link::route(&desired.state, &self.wanted).await?;

        let observed = client.read().await?;
        let ignored = scope.map(|scope| out_of_scope(scope, &self.wanted, &observed)).unwrap_or_default();
        let left = differences(&self.wanted, &observed, &ignored);
        self.failed_keys = left.keys().copied().collect();
        failed.extend(left.iter().filter_map(|(key, drift)| {
            let peer_id = self.wanted.get(key)?.peer_id;
            let reason = reasons.get(key).cloned().unwrap_or_else(|| not_taken(drift));
            Some(failed_peer(peer_id, &reason))
        }));
        self.failed_at = (!failed.is_empty()).then(Instant::now);
        if observed.listen_port != desired.state.listen_port {
            return Err(port_taken(desired));
        }
        if failed.len() > MAX_FAILED {
            let first = failed.first().map(|peer| peer.reason.clone()).unwrap_or_default();
            let detail = format!("{} peers cannot be applied, the first because {first}", failed.len());
            return Err(Error::new(Code::WrongState, detail));
        }
        self.failed = failed;
        self.note_seen(&observed, endpoints);
        Ok(changed)
    }

    /// Creates the link if it is missing, and gives it key, port and addresses; returns whether it is new.
    async fn bring_up(&mut self, desired: &mut DesiredInterface, own: PublicKey) -> Result<bool> {
        let name = desired.state.name.clone();
        let (kind, fresh) = match link::find(&name) {
            Some(kind) => (kind, false),
            None => (link::create(&name).await?, true),
        };
        if fresh || self.kind != Some(kind) {
            self.client = Some(link::client(&name, kind)?);
            self.kind = Some(kind);
        }
        if fresh {
            desired.counters = Uuid::new_v4();
            self.reviving_until = Some(Instant::now() + REVIVAL);
            self.seen.clear();
        }
        let client = self.client.as_ref().ok_or_else(not_up)?;
        let observed = client.read().await?;
        // Without a key it was made by an agent that was killed before it had set one.
        if let Some(found) = observed.public_key.filter(|found| *found != own)
            && desired.public_key != Some(found.to_string())
        {
            return Err(link::taken(&name));
        }
        link::configure(&desired.state).await.map_err(|error| or_port_taken(error, desired))?;
        // Known as the agent's even if the port is refused, which leaves the key set.
        desired.public_key = Some(own.to_string());
        let private_key = self.key.clone().filter(|_| observed.public_key != Some(own));
        let listen_port =
            (observed.listen_port != desired.state.listen_port).then_some(desired.state.listen_port);
        if private_key.is_some() || listen_port.is_some() {
            let settings = Delta { private_key, listen_port, peers: Vec::new() };
            client.apply(settings).await.map_err(|error| or_port_taken(error, desired))?;
        }
        Ok(fresh)
    }

    fn is_reviving(&self) -> bool {
        self.reviving_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether the link is gone, as after its program was killed.
    pub(super) fn is_gone(&self, desired: &DesiredInterface) -> bool {
        self.kind.is_some() && link::find(&desired.state.name).is_none()
    }

    /// Reads the interface; returns whether it must be applied again.
    pub(super) async fn watch(
        &mut self,
        desired: &DesiredInterface,
        endpoints: &mut Endpoints,
    ) -> Result<bool> {
        let client = self.client.as_ref().ok_or_else(not_up)?;
        let observed = client.read().await?;
        self.note_seen(&observed, endpoints);
        if self.failed_at.is_some_and(|at| at.elapsed() > RETRY_FAILED) {
            return Ok(true);
        }
        let own = self.key.as_ref().map(SecretKey::public).transpose()?;
        if observed.listen_port != desired.state.listen_port || observed.public_key != own {
            return Ok(true);
        }
        if desired.state.repair {
            // Applying notes the differences and mends them.
            let left = changes(&self.wanted, &observed, None, endpoints.known(), self.is_reviving());
            return Ok(left.iter().any(|change| !self.failed_keys.contains(&change.key)));
        }
        self.drift = differences(&self.wanted, &observed, &self.failed_keys);
        if self.reviving_until.is_some() && !self.is_reviving() {
            self.end_revival(&observed).await?;
        }
        Ok(false)
    }

    /// Takes keep-alives away where drift is not mended.
    async fn end_revival(&mut self, observed: &Observed) -> Result<()> {
        let lively = observed.peers.iter().filter(|(_, peer)| peer.keepalive != 0);
        let quiet =
            lively.map(|(key, _)| PeerChange { keepalive: Some(0), ..PeerChange::of(*key) }).collect();
        let client = self.client.as_ref().ok_or_else(not_up)?;
        client.apply(Delta { peers: quiet, ..Delta::default() }).await?;
        self.reviving_until = None;
        Ok(())
    }

    fn note_seen(&mut self, observed: &Observed, endpoints: &mut Endpoints) {
        for (key, wanted) in &self.wanted {
            let Some(found) = observed.peers.get(key) else { continue };
            if let (Some(endpoint), Some(_)) = (found.endpoint, found.handshake_at) {
                endpoints.note(wanted.peer_id, endpoint);
            }
            let seen = SeenPeer {
                peer_id: wanted.peer_id,
                handshake_at: found.handshake_at,
                endpoint: found.endpoint.map(|endpoint| endpoint.to_string()),
                received_bytes: found.received_bytes,
                sent_bytes: found.sent_bytes,
            };
            self.seen.insert(wanted.peer_id, seen);
        }
        let wanted: BTreeSet<Uuid> = self.wanted.values().map(|wanted| wanted.peer_id).collect();
        self.seen.retain(|peer_id, _| wanted.contains(peer_id));
    }
}

/// The private key of an interface, made on first use.
pub(super) fn load_key(folder: &Path, desired: &DesiredInterface) -> Result<SecretKey> {
    SecretKey::load_or_create(&key_file(folder, desired))
}

/// The file of the private key of an interface.
pub(super) fn key_file(folder: &Path, desired: &DesiredInterface) -> PathBuf {
    folder.join(format!("{}.key", desired.state.interface_id))
}

/// Sends changes in one message; after an error one by one, so that one peer that is refused does not hold up
/// the others. Returns the reasons of those that are refused.
async fn send(client: &Timed, peers: Vec<PeerChange>) -> Result<BTreeMap<PublicKey, String>> {
    let mut reasons = BTreeMap::new();
    if peers.is_empty() {
        return Ok(reasons);
    }
    let sent = client.apply(Delta { peers: peers.clone(), ..Delta::default() }).await;
    let Err(error) = sent else { return Ok(reasons) };
    if peers.len() == 1 {
        reasons.insert(peers[0].key, error.to_string());
        return Ok(reasons);
    }
    // One that does not answer at all ends here.
    client.read().await?;
    for peer in peers {
        let key = peer.key;
        if let Err(error) = client.apply(Delta { peers: vec![peer], ..Delta::default() }).await {
            reasons.insert(key, error.to_string());
        }
    }
    Ok(reasons)
}

fn note_drift(
    noted: &mut BTreeMap<PublicKey, Vec<Drift>>,
    found: BTreeMap<PublicKey, Vec<Drift>>,
    repair: bool,
) {
    if repair {
        noted.extend(found);
    } else {
        *noted = found;
    }
}

/// Peers that a limited pass leaves alone.
fn out_of_scope(
    scope: &BTreeSet<PublicKey>,
    wanted: &WantedPeers,
    observed: &Observed,
) -> BTreeSet<PublicKey> {
    let all = wanted.keys().chain(observed.peers.keys());
    all.filter(|key| !scope.contains(key)).copied().collect()
}

fn not_taken(drift: &[Drift]) -> String {
    use nebula_api::node_sync::DriftKind;
    match drift.first().map(|drift| drift.kind) {
        Some(DriftKind::AllowedIps) => "WireGuard did not take its addresses; another peer may have one",
        Some(DriftKind::PresharedKey) => "WireGuard did not take its preshared key",
        _ => "WireGuard did not take it",
    }
    .to_owned()
}

/// The error, or a clearer one if the port is taken.
fn or_port_taken(error: Error, desired: &DesiredInterface) -> Error {
    if error.to_string().contains("Address already in use") { port_taken(desired) } else { error }
}

fn port_taken(desired: &DesiredInterface) -> Error {
    let port = desired.state.listen_port;
    Error::new(Code::AlreadyExists, format!("UDP port {port} of {} is taken", desired.state.name))
        .hint(format!("See by what: ss -lunp 'sport = :{port}'; or give the interface another port."))
}

fn not_up() -> Error {
    Error::new(Code::WrongState, "the interface is not up")
}
