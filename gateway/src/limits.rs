//! Limits per client address, in this gateway's memory: how often somebody may guess, and how often refusals are recorded.
//!
//! What must hold across gateways (certificates per device and hour) is counted in the database.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ApiError;
use crate::error::RATE_LIMITED;

/// Wrong enrolment codes that one client may send within [`GUESSING`].
const GUESSES: u64 = 20;
const GUESSING: Duration = Duration::from_secs(10 * 60);
/// Refusals are recorded once per client, device and this; whoever sends more shows as a number in the next record.
const RECORDING: Duration = Duration::from_secs(60);
/// At most so many records of refusals per [`RECORDING`], whoever they are from.
const RECORDS: u64 = 60;
/// Clients remembered at most; 10 000 take less than a megabyte.
const CLIENTS: usize = 10_000;

/// What is counted.
#[derive(Debug)]
pub struct Limits {
    guesses: Tally<IpAddr>,
    refusals: Tally<(IpAddr, Option<uuid::Uuid>)>,
    records: Tally<()>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            guesses: Tally::new(GUESSING),
            refusals: Tally::new(RECORDING),
            records: Tally::new(RECORDING),
        }
    }
}

impl Limits {
    /// Refuses a client that guessed too often.
    ///
    /// # Errors
    /// 429 until when it has to wait.
    pub fn check_guesses(&self, client: Option<IpAddr>) -> Result<(), ApiError> {
        match self.guesses.look(&place(client)) {
            Some((count, rest)) if count >= GUESSES => {
                let detail = format!("{count} wrong enrolment codes came from this address");
                Err(ApiError::new(RATE_LIMITED, detail).hint("Wait, then try again.").retry_after(rest))
            }
            _ => Ok(()),
        }
    }

    /// Notes a wrong code.
    pub fn guessed(&self, client: Option<IpAddr>) {
        self.guesses.count(place(client));
    }

    /// Whether this refusal is to be recorded; if so, how many like it were not since the last one that was.
    pub fn records_refusal(&self, client: Option<IpAddr>, device: Option<uuid::Uuid>) -> Option<u64> {
        let (count, earlier) = self.refusals.count((place(client), device));
        (count == 1 && self.records.count(()).0 <= RECORDS).then_some(earlier)
    }
}

/// Who controls one IPv6 address controls its /64.
fn place(client: Option<IpAddr>) -> IpAddr {
    match client {
        Some(IpAddr::V6(address)) => {
            let mut parts = address.segments();
            parts[4..].fill(0);
            IpAddr::V6(parts.into())
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    count: u64,
}

/// Counts per key within windows of one length.
#[derive(Debug)]
struct Tally<K> {
    length: Duration,
    windows: Mutex<HashMap<K, Window>>,
}

impl<K: Eq + Hash> Tally<K> {
    fn new(length: Duration) -> Self {
        Self { length, windows: Mutex::default() }
    }

    /// How many there were in the current window, and how long it still lasts.
    fn look(&self, key: &K) -> Option<(u64, Duration)> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get(key)?;
        let rest = self.length.checked_sub(window.begun.elapsed())?;
        Some((window.count, rest))
    }

    /// Counts one: how many there are with it, and how many beyond the first there were in the window before.
    fn count(&self, key: K) -> (u64, u64) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, length) = (Instant::now(), self.length);
        if windows.len() >= CLIENTS && !windows.contains_key(&key) {
            windows.retain(|_, window| now - window.begun < length);
            // A flood from everywhere: to begin anew is better than to grow.
            if windows.len() >= CLIENTS {
                windows.clear();
            }
        }
        let window = windows.entry(key).or_insert(Window { begun: now, count: 0 });
        let mut earlier = 0;
        if now - window.begun >= length {
            earlier = window.count.saturating_sub(1);
            *window = Window { begun: now, count: 0 };
        }
        window.count += 1;
        (window.count, earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_too_often_waits() {
        let limits = Limits::default();
        let [one, other]: [Option<IpAddr>; 2] =
            ["2001:db8::1", "2001:db8:1::1"].map(|text| text.parse().ok());
        for _ in 0..GUESSES {
            limits.check_guesses(one).unwrap();
            limits.guessed(one);
        }
        // The same customer of the same provider, and another one.
        let neighbour = "2001:db8::ffff:2".parse().ok();
        assert_eq!(limits.check_guesses(neighbour).unwrap_err().meaning(), RATE_LIMITED);
        limits.check_guesses(other).unwrap();
    }

    #[test]
    fn refusals_are_recorded_once_and_counted() {
        let tally = Tally::new(Duration::from_millis(30));
        assert_eq!([tally.count(1), tally.count(1), tally.count(1)], [(1, 0), (2, 0), (3, 0)]);
        assert_eq!(tally.count(2), (1, 0));
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(tally.count(1), (1, 2));
    }

    #[test]
    fn a_flood_from_everywhere_does_not_grow() {
        let tally = Tally::new(GUESSING);
        for key in 0..3 * CLIENTS {
            tally.count(key);
        }
        assert!(tally.windows.lock().unwrap().len() <= CLIENTS);
    }

    #[test]
    fn records_are_few_whoever_asks() {
        let limits = Limits::default();
        let clients = (0..200).map(|last| Some(IpAddr::from([192, 0, 2, last])));
        let recorded = clients.filter(|client| limits.records_refusal(*client, None).is_some()).count();
        assert_eq!(recorded as u64, RECORDS);
    }
}
