//! Limits in this gateway's memory: wrong enrolment codes and records of refused calls per client address,
//! registrations per account and project.
//!
//! A limit that must hold across gateways (certificates per device and hour) is counted in the database.
//!
//! Not `governor`: it can neither look at a limit without using it up, nor tell how many calls it left out,
//! nor bound the number of keys it remembers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::error::{ApiError, RATE_LIMITED};

/// Wrong enrolment codes that one client may send per [`GUESS_INTERVAL`].
const MAX_GUESSES: u64 = 20;
const GUESS_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Each client and device gets one record of refusals per interval; the next record tells how many were left
/// out.
const RECORD_INTERVAL: Duration = Duration::from_secs(60);
/// Records of refusals per [`RECORD_INTERVAL`], of all clients together.
const MAX_RECORDS: u64 = 60;
const REGISTRATION_INTERVAL: Duration = Duration::from_secs(60);
/// Keys remembered per limit; 10 000 take less than a megabyte.
const MAX_KEYS: usize = 10_000;

pub(crate) use refused_requests::RefusedRequests;
pub(crate) use share_guesses::ShareGuesses;

mod refused_requests;
mod share_guesses;

#[derive(Debug)]
pub(crate) struct RateLimits {
    guesses: FixedWindow<IpAddr>,
    refusals: FixedWindow<(IpAddr, Option<Uuid>)>,
    records: FixedWindow<()>,
    registrations: FixedWindow<(Uuid, Uuid)>,
    /// Of an account in a project per [`REGISTRATION_INTERVAL`].
    max_registrations: Option<NonZeroU32>,
}

impl RateLimits {
    pub(crate) fn new(max_registrations: Option<NonZeroU32>) -> Self {
        Self {
            registrations: FixedWindow::new(REGISTRATION_INTERVAL),
            max_registrations,
            guesses: FixedWindow::new(GUESS_INTERVAL),
            refusals: FixedWindow::new(RECORD_INTERVAL),
            records: FixedWindow::new(RECORD_INTERVAL),
        }
    }

    /// Counts a registration. Fails with 429, and the time to wait, for an account that registers too many
    /// devices: a mistaken loop would fill the project's pool within seconds.
    pub(crate) fn count_registration(&self, account: Uuid, project: Uuid) -> Result<(), ApiError> {
        let Some(max) = self.max_registrations else { return Ok(()) };
        let (key, now) = ((account, project), Instant::now());
        match self.registrations.peek(&key, now) {
            Some((count, wait)) if count >= u64::from(max.get()) => {
                let detail =
                    format!("this account has registered {count} devices in this project within a minute");
                Err(ApiError::new(RATE_LIMITED, detail)
                    .hint("Wait, or have NEBULA_REGISTRATIONS_PER_MINUTE of the gateway raised.")
                    .retry_after(wait))
            }
            _ => {
                self.registrations.count(key, now);
                Ok(())
            }
        }
    }

    /// Fails with 429, and the time to wait, for a client that sent too many wrong codes.
    pub(crate) fn check_guesses(&self, client: Option<IpAddr>) -> Result<(), ApiError> {
        match self.guesses.peek(&client_prefix(client), Instant::now()) {
            Some((count, wait)) if count >= MAX_GUESSES => {
                let detail = format!("{count} wrong enrolment codes came from this address");
                Err(ApiError::new(RATE_LIMITED, detail).hint("Wait, then try again.").retry_after(wait))
            }
            _ => Ok(()),
        }
    }

    /// Counts a wrong code.
    pub(crate) fn count_guess(&self, client: Option<IpAddr>) {
        self.guesses.count(client_prefix(client), Instant::now());
    }

    /// `Some` if this refusal is to be recorded, with the number of refusals like it that were left out since
    /// the last record.
    pub(crate) fn should_record(&self, client: Option<IpAddr>, device: Option<Uuid>) -> Option<u64> {
        let now = Instant::now();
        let (count, left_out) = self.refusals.count((client_prefix(client), device), now);
        (count == 1 && self.records.count((), now).0 <= MAX_RECORDS).then_some(left_out)
    }
}

/// The address, of IPv6 its /64: a customer of a provider usually controls a whole /64.
pub(super) fn client_prefix(client: Option<IpAddr>) -> IpAddr {
    match client {
        Some(IpAddr::V6(address)) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
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

    /// The count in the current window, and the time until its end.
    fn peek(&self, key: &K, now: Instant) -> Option<(u64, Duration)> {
        let windows = self.lock();
        let window = windows.get(key)?;
        let rest = self.length.checked_sub(now.saturating_duration_since(window.start))?;
        Some((window.count, rest))
    }

    fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    /// Counts one less in the current window.
    fn take_back(&self, key: &K) {
        if let Some(window) = self.lock().get_mut(key) {
            window.count = window.count.saturating_sub(1);
        }
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
    fn a_client_that_guesses_too_often_is_refused_and_its_neighbours_are_not() {
        let limits = RateLimits::new(None);
        let [one, other]: [Option<IpAddr>; 2] =
            ["2001:db8::1", "2001:db8:1::1"].map(|text| text.parse().ok());
        for _ in 0..MAX_GUESSES {
            limits.check_guesses(one).unwrap();
            limits.count_guess(one);
        }
        let same_prefix = "2001:db8::ffff:2".parse().ok();
        assert_eq!(limits.check_guesses(same_prefix).unwrap_err().meaning(), RATE_LIMITED);
        limits.check_guesses(other).unwrap();
    }

    #[test]
    fn registrations_are_limited_for_each_account_and_project_by_itself() {
        let limits = RateLimits::new(NonZeroU32::new(2));
        let [anna, home, work] = [1, 2, 3].map(Uuid::from_u128);
        limits.count_registration(anna, home).unwrap();
        limits.count_registration(anna, home).unwrap();
        let refused = limits.count_registration(anna, home).unwrap_err();
        assert_eq!(refused.meaning(), RATE_LIMITED);
        assert!(refused.retry_after_seconds().is_some_and(|seconds| (1..=61).contains(&seconds)));
        limits.count_registration(anna, work).unwrap();
        limits.count_registration(work, home).unwrap();
        let unlimited = RateLimits::new(None);
        assert!((0..1000).all(|_| unlimited.count_registration(anna, home).is_ok()));
    }

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
        let windows = FixedWindow::new(GUESS_INTERVAL);
        for key in 0..3 * MAX_KEYS {
            windows.count(key, Instant::now());
        }
        assert!(windows.windows.lock().unwrap().len() <= MAX_KEYS);
    }

    #[test]
    fn records_are_limited_for_all_clients_together() {
        let limits = RateLimits::new(None);
        let clients = (0..200).map(|last| Some(IpAddr::from([192, 0, 2, last])));
        let recorded = clients.filter(|client| limits.should_record(*client, None).is_some()).count();
        assert_eq!(recorded as u64, MAX_RECORDS);
    }
}
