//! Connections of clients: how many there are, and which of them are closed so that others get in.
//!
//! A connection on which a request is being worked on is never closed for others. One that waits for its
//! client (no request, or half of one) is the first to go when room is short, and a client has only a share
//! of those: the oldest makes way for the newest. A client that is quick is thereby served however many slow
//! ones there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;

use super::client_prefix::client_prefix;
use super::trusted_proxies::TrustedProxies;

/// Connections above the limit that are accepted all the same, to answer questions about health.
const RESERVE: usize = 32;
/// The share of a client is a quarter of all, within these bounds, and never more than half.
const SHARE: std::ops::RangeInclusive<usize> = 64..=1024;
/// Connections that were closed for others are logged once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long bodies of requests may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The client sends nothing.
    pub(crate) silence: Duration,
    /// The whole body.
    pub(crate) whole: Duration,
    /// A file that an account uploads.
    pub(crate) upload: Duration,
}

/// Clones share the table.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    table: Arc<Mutex<Table>>,
    limit: usize,
    share: usize,
    /// Stand for many clients each, so they have no share.
    proxies: TrustedProxies,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    /// Of these, those that were told to close and have not done so yet.
    closing: usize,
    next: u64,
    /// Those that wait for their client, by the time since when they do.
    waiting: BTreeMap<u64, Arc<Signal>>,
    by_client: HashMap<IpAddr, BTreeSet<u64>>,
    closed: u64,
    logged_at: Option<Instant>,
}

/// Tells a connection to close.
#[derive(Debug)]
struct Signal {
    client: IpAddr,
    closing: AtomicBool,
    waker: AtomicWaker,
}

/// An open connection; dropping the last clone removes it from the table.
#[derive(Debug)]
pub(crate) struct Connection {
    connections: Connections,
    signal: Arc<Signal>,
    /// Number in the table while it waits, else 0.
    number: AtomicU64,
    /// Above the limit: for questions about health.
    pub(crate) reserved: bool,
    /// Whether the client must take its response at some speed.
    hurried: AtomicBool,
}

impl Connections {
    pub(crate) fn new(limit: usize, proxies: TrustedProxies) -> Self {
        let share = (limit / 4).clamp(*SHARE.start(), *SHARE.end()).min(limit / 2).max(1);
        Self { table: Arc::default(), limit, share, proxies }
    }

    /// Connections that may be open at the same time, the reserve included.
    pub(crate) fn max(&self) -> usize {
        self.limit + RESERVE
    }

    /// Half of them: no device or account may have more for itself.
    pub(crate) fn half(&self) -> usize {
        self.limit / 2
    }

    /// How many are open, and how many of these wait for their client.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.lock();
        (table.open, table.waiting.len())
    }

    /// Takes a connection into the table, and tells another one to close if it takes its room. `None` if
    /// there is no room, because all others are being worked on.
    pub(crate) fn admit(&self, peer: Option<IpAddr>) -> Option<Arc<Connection>> {
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
        let client = client_prefix(Some(peer));
        let mut table = self.lock();
        let own = table.by_client.get(&client).map_or(0, BTreeSet::len);
        if own >= self.share && !self.proxies.contains(peer) {
            table.close_oldest_of(client);
        }
        if table.open - table.closing >= self.limit {
            table.close_one_of_the_greediest();
        }
        let reserved = table.open - table.closing >= self.limit;
        if table.open >= self.limit + RESERVE {
            return None;
        }
        table.open += 1;
        let signal =
            Arc::new(Signal { client, closing: AtomicBool::default(), waker: AtomicWaker::default() });
        let number = table.wait(&signal);
        drop(table);
        let number = AtomicU64::new(number);
        Some(Arc::new(Connection {
            connections: self.clone(),
            signal,
            number,
            reserved,
            hurried: AtomicBool::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Enters a connection as waiting; answers its number.
    fn wait(&mut self, signal: &Arc<Signal>) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, Arc::clone(signal));
        self.by_client.entry(signal.client).or_default().insert(self.next);
        self.next
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Signal>> {
        let signal = self.waiting.remove(&number)?;
        if let Some(numbers) = self.by_client.get_mut(&signal.client) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_client.remove(&signal.client);
            }
        }
        Some(signal)
    }

    fn close_oldest_of(&mut self, client: IpAddr) {
        let oldest = self.by_client.get(&client).and_then(|numbers| numbers.first().copied());
        let Some(signal) = oldest.and_then(|number| self.remove(number)) else { return };
        signal.closing.store(true, Ordering::Release);
        self.closing += 1;
        signal.waker.wake();
        self.closed += 1;
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            tracing::warn!(
                closed = self.closed, open = self.open, client = %client,
                "connections that waited for their client were closed to make room"
            );
            (self.logged_at, self.closed) = (Some(Instant::now()), 0);
        }
    }

    fn close_one_of_the_greediest(&mut self) {
        let greediest = self.by_client.iter().max_by_key(|(_, numbers)| numbers.len());
        if let Some(client) = greediest.map(|(client, _)| *client) {
            self.close_oldest_of(client);
        }
    }
}

impl Connection {
    /// A request has arrived whole, or its sender may take his time: it is not closed for others, even if it
    /// was told to while the last bytes of the request were still unread.
    pub(crate) fn set_busy(&self) {
        let mut table = self.connections.lock();
        table.remove(self.number.swap(0, Ordering::AcqRel));
        table.closing -= usize::from(self.signal.closing.swap(false, Ordering::AcqRel));
    }

    /// The response is on its way: it waits for its client again.
    pub(crate) fn set_waiting(&self) {
        self.hurried.store(false, Ordering::Release);
        let mut table = self.connections.lock();
        if self.number.load(Ordering::Acquire) == 0 && !self.is_closing() {
            self.number.store(table.wait(&self.signal), Ordering::Release);
        }
    }

    /// The response that is about to begin must be taken at some speed, since few may be open.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }

    /// Whether it has to make room.
    pub(crate) fn is_closing(&self) -> bool {
        self.signal.closing.load(Ordering::Acquire)
    }

    /// Resolves when it has to make room.
    pub(crate) async fn closing(&self) {
        poll_fn(|context| {
            self.wake_on_closing(context.waker());
            if self.is_closing() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Has `waker` called when the connection has to make room.
    pub(crate) fn wake_on_closing(&self, waker: &Waker) {
        self.signal.waker.register(waker);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.remove(*self.number.get_mut());
        table.open -= 1;
        table.closing -= usize::from(self.signal.closing.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limit: usize, proxies: &str) -> Connections {
        Connections::new(limit, proxies.parse().unwrap())
    }

    fn peer(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_oldest_waiting_connection_of_a_client_makes_room_for_its_newest() {
        let connections = connections(1000, "");
        let other = connections.admit(peer(2)).unwrap();
        let all: Vec<_> = (0..251).map(|_| connections.admit(peer(1)).unwrap()).collect();
        assert!(all[0].is_closing() && all[1..].iter().all(|one| !one.is_closing()));
        assert!(!other.is_closing() && !other.reserved, "a neighbour is not affected");
    }

    #[test]
    fn a_connection_that_is_worked_on_is_never_closed_for_others() {
        let connections = connections(64, "");
        let busy: Vec<_> = (0..64).map(|_| connections.admit(peer(1)).unwrap()).collect();
        assert!(busy[0].is_closing());
        busy.iter().for_each(|one| one.set_busy());
        let reserve: Vec<_> = (0..RESERVE).map(|_| connections.admit(peer(1)).unwrap()).collect();
        assert!(busy.iter().all(|one| !one.is_closing()));
        assert!(reserve.iter().all(|one| one.reserved), "they may ask for health");
        assert!(connections.admit(peer(2)).is_none());
        busy[7].set_waiting();
        assert!(connections.admit(peer(2)).is_none());
        drop((busy, reserve));
        assert_eq!(connections.counts(), (0, 0));
        assert!(!connections.admit(peer(2)).unwrap().reserved);
    }

    #[test]
    fn when_all_is_full_the_client_with_the_most_waiting_connections_makes_room() {
        let connections = connections(64, "");
        let greedy: Vec<_> = (1..3)
            .flat_map(|last| (0..30).map(move |_| last))
            .map(|last| connections.admit(peer(last)).unwrap())
            .collect();
        let modest: Vec<_> = (0..4).map(|_| connections.admit(peer(3)).unwrap()).collect();
        assert!(greedy.iter().all(|one| !one.is_closing()));
        let newcomers: Vec<_> = (0..8).map(|_| connections.admit(peer(4)).unwrap()).collect();
        assert!(
            newcomers.iter().all(|one| !one.reserved),
            "room was made, so they are served like any other"
        );
        assert_eq!(greedy.iter().filter(|one| one.is_closing()).count(), 8);
        assert!(modest.iter().all(|one| !one.is_closing()));
    }

    #[test]
    fn a_client_never_fills_more_than_half_however_few_connections_there_are() {
        for limit in [2, 16, 63, 200] {
            let connections = connections(limit, "");
            let all: Vec<_> = (0..limit / 2 + 1).map(|_| connections.admit(peer(1)).unwrap()).collect();
            assert!(all[0].is_closing(), "{limit}");
        }
    }

    #[test]
    fn a_trusted_proxy_has_no_share_because_it_stands_for_many_clients() {
        let connections = connections(1000, "192.0.2.1");
        let all: Vec<_> = (0..900).map(|_| connections.admit(peer(1)).unwrap()).collect();
        assert!(all.iter().all(|one| !one.is_closing()));
    }
}
