//! The two places where WireGuard runs, the kernel and a program, behind one trait; and a deadline, because
//! both clients wait for an answer for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::key::{PublicKey, SecretKey};
use crate::error::{Code, Error, Result};
pub(super) use kernel::Kernel;
pub(super) use userspace::Userspace;

mod kernel;
mod userspace;

/// Time WireGuard may take to answer; 10 000 peers take 1.4 s.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Changes of an interface, sent in one message. Peers that are not named stay as they are.
#[derive(Default)]
pub(super) struct Delta {
    pub(super) private_key: Option<SecretKey>,
    pub(super) listen_port: Option<u16>,
    pub(super) peers: Vec<PeerChange>,
}

#[derive(Clone)]
pub(super) struct PeerChange {
    pub(super) key: PublicKey,
    pub(super) remove: bool,
    /// `Some(None)` takes the preshared key away.
    pub(super) preshared: Option<Option<SecretKey>>,
    /// Replaces the present ones.
    pub(super) allowed_ips: Option<BTreeSet<IpNetwork>>,
    pub(super) endpoint: Option<SocketAddr>,
    /// Seconds; 0 is never.
    pub(super) keepalive: Option<u16>,
}

impl PeerChange {
    pub(super) fn of(key: PublicKey) -> Self {
        Self { key, remove: false, preshared: None, allowed_ips: None, endpoint: None, keepalive: None }
    }
}

/// State of an interface that was read.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) public_key: Option<PublicKey>,
    /// 0 when it listens nowhere; nothing else may be known then.
    pub(super) listen_port: u16,
    pub(super) peers: BTreeMap<PublicKey, ObservedPeer>,
}

#[derive(Default)]
pub(super) struct ObservedPeer {
    pub(super) preshared: Option<SecretKey>,
    pub(super) allowed_ips: BTreeSet<IpNetwork>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) keepalive: u16,
    pub(super) handshake_at: Option<DateTime<Utc>>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

/// An interface of WireGuard. A change can be half done after an error, so that it counts only after it has
/// been read back.
pub(super) trait Backend: Send + Sync {
    fn apply(&self, delta: &Delta) -> Result<()>;
    fn read(&self) -> Result<Observed>;
}

/// A backend whose calls end in time. A call that hangs keeps its thread; until it ends, further calls fail at
/// once.
pub(super) struct Timed {
    backend: Arc<dyn Backend>,
    free: Arc<Semaphore>,
    name: String,
    timeout: Duration,
}

impl Timed {
    pub(super) fn new(name: &str, backend: impl Backend + 'static) -> Self {
        Self {
            backend: Arc::new(backend),
            free: Arc::new(Semaphore::new(1)),
            name: name.to_owned(),
            timeout: TIMEOUT,
        }
    }

    /// The kernel's WireGuard.
    pub(super) fn kernel(name: &str) -> Self {
        Self::new(name, Kernel::new(name))
    }

    /// The program that owns the link of this name.
    pub(super) fn userspace(name: &str, socket: PathBuf) -> Self {
        Self::new(name, Userspace::new(socket))
    }

    pub(super) async fn apply(&self, delta: Delta) -> Result<()> {
        self.call(move |backend| backend.apply(&delta)).await
    }

    pub(super) async fn read(&self) -> Result<Observed> {
        self.call(|backend| backend.read()).await
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Backend) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let hangs = || {
            Error::new(Code::Io, format!("WireGuard does not answer for {}", self.name))
                .hint(format!("Make the agent start it anew: ip link delete {}", self.name))
        };
        let permit = self.free.clone().try_acquire_owned().map_err(|_| hangs())?;
        let (sender, answer) = oneshot::channel();
        let backend = self.backend.clone();
        thread::Builder::new()
            .name(format!("wireguard {}", self.name))
            .spawn(move || {
                let answer = call(backend.as_ref());
                // Before the answer, which the next call may follow at once.
                drop(permit);
                // The receiver is gone after the deadline.
                let _ = sender.send(answer);
            })
            .map_err(|error| Error::new(Code::Io, format!("cannot start a thread: {error}")))?;
        match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::new(Code::Io, format!("the client of {} broke off", self.name))),
            Err(_) => Err(hangs()),
        }
    }
}

/// An error that WireGuard gives by number, in words.
fn refused(number: i32) -> Error {
    let error = io::Error::from_raw_os_error(number.abs());
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text).to_owned();
    let refused = Error::new(Code::Io, format!("WireGuard refuses: {reason}"));
    match error.kind() {
        io::ErrorKind::PermissionDenied => refused.hint("The agent needs CAP_NET_ADMIN: run it as root."),
        _ => refused,
    }
}

/// A handshake that never was is time 0.
fn handshake(since_epoch: Duration) -> Option<DateTime<Utc>> {
    if since_epoch.is_zero() {
        return None;
    }
    DateTime::from_timestamp(since_epoch.as_secs().try_into().ok()?, since_epoch.subsec_nanos())
}

fn observed(device: wireguard_uapi::get::Device) -> Result<Observed> {
    let public_key = match (device.public_key, device.private_key) {
        (Some(public), _) => Some(PublicKey::new(public)).filter(|key| !key.is_zero()),
        (None, Some(private)) => SecretKey::present(private).map(|key| key.public()).transpose()?,
        (None, None) => None,
    };
    let peers = device.peers.into_iter().map(|peer| {
        let networks = peer.allowed_ips.iter();
        let networks = networks.filter_map(|ip| IpNetwork::new(ip.ipaddr, ip.cidr_mask).ok());
        let observed = ObservedPeer {
            preshared: SecretKey::present(peer.preshared_key),
            allowed_ips: networks.collect(),
            endpoint: peer.endpoint,
            keepalive: peer.persistent_keepalive_interval,
            handshake_at: handshake(peer.last_handshake_time),
            received_bytes: peer.rx_bytes,
            sent_bytes: peer.tx_bytes,
        };
        (PublicKey::new(peer.public_key), observed)
    });
    Ok(Observed { public_key, listen_port: device.listen_port, peers: peers.collect() })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Answers when it is told to.
    struct Slow(Mutex<mpsc::Receiver<()>>);

    impl Backend for Slow {
        fn apply(&self, _: &Delta) -> Result<()> {
            Ok(())
        }

        fn read(&self) -> Result<Observed> {
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            Ok(Observed::default())
        }
    }

    #[tokio::test]
    async fn a_wireguard_that_hangs_costs_one_thread_and_no_call_waits_for_it() {
        let (go, wait) = mpsc::channel();
        let timed = Timed { timeout: Duration::from_millis(20), ..Timed::new("wg0", Slow(Mutex::new(wait))) };
        for _ in 0..3 {
            let error = timed.read().await.map(drop).unwrap_err();
            assert!(error.to_string().contains("does not answer for wg0"), "{error}");
        }
        assert_eq!(timed.free.available_permits(), 0, "only the first call has reached it");
        go.send(()).unwrap();
        let free = timed.free.clone();
        drop(free.acquire().await.unwrap());
        timed.apply(Delta::default()).await.unwrap();
    }

    #[tokio::test]
    async fn a_call_that_follows_an_answer_at_once_finds_wireguard_free() {
        let (go, wait) = mpsc::channel();
        let timed = Timed::new("wg0", Slow(Mutex::new(wait)));
        for _ in 0..2000 {
            go.send(()).unwrap();
            timed.read().await.map(drop).unwrap();
        }
    }

    #[test]
    fn errors_are_words_and_no_handshake_is_none() {
        assert_eq!(refused(-98).to_string(), "WireGuard refuses: Address already in use");
        assert!(refused(-1).failure().hint.as_ref().unwrap().contains("CAP_NET_ADMIN"));
        assert_eq!(handshake(Duration::ZERO), None);
        assert_eq!(handshake(Duration::from_secs(1)).unwrap().timestamp(), 1);
    }
}
