//! `upload --limit-rate`: leaves room on the line for others.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::UsageError;

/// The rate that all files of one command share.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes per second.
    rate: Option<u64>,
    /// When the line is free again.
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, next: Mutex::new(Instant::now()) }
    }

    /// Bytes to read at once, at most `most`: several per second, so that the rate is even.
    pub(super) fn chunk(&self, most: usize) -> usize {
        self.rate.map_or(most, |rate| usize::try_from(rate / 8).map_or(most, |part| part.clamp(1024, most)))
    }

    /// Waits, on this thread, until so many bytes may be sent.
    pub(super) fn wait(&self, count: usize) {
        let Some(rate) = self.rate else { return };
        let time = Duration::from_secs_f64(count as f64 / rate as f64);
        let free = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let free = (*next).max(Instant::now());
            *next = free + time;
            free
        };
        thread::sleep(free.saturating_duration_since(Instant::now()));
    }
}

/// `800K`, `2M`, `1G`: bytes per second, in powers of 1024.
pub(super) fn parse(text: &str) -> Result<u64, UsageError> {
    let digits = text.trim_end_matches(|unit: char| !unit.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(UsageError::new("write it as bytes per second, such as 800K or 2M")),
    };
    let rate = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    rate.filter(|rate| *rate > 0).ok_or_else(|| UsageError::new("it takes a number above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        for (text, rate) in [("1500", 1500), ("800k", 800 << 10), ("2M", 2 << 20), ("1G", 1 << 30)] {
            assert_eq!(parse(text), Ok(rate));
        }
        for wrong in ["", "0", "M", "2MB", "-1", "1.5M", "99999999999G"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_spread_over_time() {
        let pace = Pace::new(Some(1_000_000));
        let begin = Instant::now();
        for _ in 0..3 {
            pace.wait(25_000);
        }
        assert!(begin.elapsed() >= Duration::from_millis(50), "{:?}", begin.elapsed());
        assert_eq!((pace.chunk(512 * 1024), Pace::new(None).chunk(7)), (125_000, 7));
    }
}
