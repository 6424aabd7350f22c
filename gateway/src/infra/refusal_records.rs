//! Which refused calls are recorded: not each one of a flood. In this gateway's memory, since each gateway records its own.
//!
//! Not `governor`: it can neither tell how many calls it left out, nor bound the number of keys it remembers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::client_prefix::client_prefix;

pub(crate) use refused_requests::RefusedRequests;

mod refused_requests;

/// Each client and device gets one record of refusals per interval; the next record tells how many were left
/// out.
const RECORD_INTERVAL: Duration = Duration::from_secs(60);
/// Records of refusals per [`RECORD_INTERVAL`], of all clients together.
const MAX_RECORDS: u64 = 60;
/// Keys that are remembered; 10 000 take less than a megabyte.
const MAX_KEYS: usize = 10_000;

#[derive(Debug)]
pub(crate) struct RefusalRecords {
    refusals: FixedWindow<(IpAddr, Option<Uuid>)>,
    records: FixedWindow<()>,
}

impl Default for RefusalRecords {
    fn default() -> Self {
        Self { refusals: FixedWindow::new(RECORD_INTERVAL), records: FixedWindow::new(RECORD_INTERVAL) }
    }
}

impl RefusalRecords {
    /// `Some` if this refusal is to be recorded, with the number of refusals like it that were left out since
    /// the last record.
    pub(crate) fn should_record(&self, client: Option<IpAddr>, device: Option<Uuid>) -> Option<u64> {
        let now = Instant::now();
        let (count, left_out) = self.refusals.count((client_prefix(client), device), now);
        (count == 1 && self.records.count((), now).0 <= MAX_RECORDS).then_some(left_out)
    }
}

#[derive(Debug)]
struct Window {
    start: Instant,
    count: u64,
}

/// Counts per key within windows of one length.
#[derive(Debug)]
struct FixedWindow<K> {
    length: Duration,
    windows: Mutex<HashMap<K, Window>>,
}

impl<K: Eq + Hash> FixedWindow<K> {
    fn new(length: Duration) -> Self {
        Self { length, windows: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one; answers the count in the current window, and how many beyond the first the window before
    /// it had.
    fn count(&self, key: K, now: Instant) -> (u64, u64) {
        let mut windows = self.lock();
        let is_over = |window: &Window| now.saturating_duration_since(window.start) >= self.length;
        if windows.len() >= MAX_KEYS && !windows.contains_key(&key) {
            windows.retain(|_, window| !is_over(window));
            // A flood from many addresses: forgetting all counts is better than growing.
            if windows.len() >= MAX_KEYS {
                windows.clear();
            }
        }
        let window = windows.entry(key).or_insert(Window { start: now, count: 0 });
        let mut left_out = 0;
        if is_over(window) {
            left_out = window.count.saturating_sub(1);
            *window = Window { start: now, count: 0 };
        }
        window.count += 1;
        (window.count, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_recorded_once_per_window_and_the_rest_are_counted() {
        let windows = FixedWindow::new(RECORD_INTERVAL);
        let start = Instant::now();
        let counts = [(); 3].map(|()| windows.count(1, start));
        assert_eq!(counts, [(1, 0), (2, 0), (3, 0)]);
        assert_eq!(windows.count(2, start), (1, 0));
        assert_eq!(windows.count(1, start + RECORD_INTERVAL - Duration::from_millis(1)), (4, 0));
        assert_eq!(windows.count(1, start + RECORD_INTERVAL), (1, 3));
    }

    #[test]
    fn a_flood_from_many_addresses_does_not_grow_memory() {
        let windows = FixedWindow::new(RECORD_INTERVAL);
        for key in 0..3 * MAX_KEYS {
            windows.count(key, Instant::now());
        }
        assert!(windows.lock().len() <= MAX_KEYS);
    }

    #[test]
    fn records_are_limited_for_all_clients_together() {
        let records = RefusalRecords::default();
        let clients = (0..200).map(|last| Some(IpAddr::from([192, 0, 2, last])));
        let recorded = clients.filter(|client| records.should_record(*client, None).is_some()).count();
        assert_eq!(recorded as u64, MAX_RECORDS);
    }
}
