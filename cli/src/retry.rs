//! Trying again what a lost connection or a gateway that restarts has interrupted: uploads and downloads.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::Error;

/// From 1 to 2 s up to 15 to 30 s.
const DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_secs(15))
    .with_jitter()
    .without_max_times();

/// The option `--retry-for`.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct RetryOptions {
    /// Give up after so many seconds in which no byte gets through; 0 never tries again
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    retry_for: u64,
}

/// Whether the same may succeed a little later: no connection, a busy upload, a gateway that restarts.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error.status {
        None => error.failure().error == "unreachable",
        // An upload is at another offset than this side believes; the next attempt asks for it.
        Some(409) => error.failure().sqlstate == "55000",
        Some(408 | 423 | 425 | 429 | 500 | 502 | 503 | 504) => true,
        Some(_) => false,
    }
}

/// Delays that grow until bytes get through again.
#[derive(Debug)]
pub(crate) struct Retry {
    delays: ExponentialBackoff,
    retry_for: Duration,
    position: u64,
    since: Instant,
}

impl Retry {
    pub(crate) fn new(options: RetryOptions) -> Self {
        let retry_for = Duration::from_secs(options.retry_for);
        Self { delays: DELAYS.build(), retry_for, position: 0, since: Instant::now() }
    }

    /// The time to wait before another attempt after this error, if there is to be one. `position` is how far
    /// the other side has got.
    pub(crate) fn after(&mut self, error: &Error, position: u64) -> Option<Duration> {
        if is_passing(error) { self.delay(position, Instant::now()) } else { None }
    }

    fn delay(&mut self, position: u64, now: Instant) -> Option<Duration> {
        if position > self.position {
            (self.position, self.since, self.delays) = (position, now, DELAYS.build());
        }
        let delay = self.delays.next()?;
        (now.duration_since(self.since) + delay <= self.retry_for).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn only_failures_that_pass_are_tried_again() {
        let failure = Error::new(Code::WrongState, "").failure().clone();
        assert!(is_passing(&Error::new(Code::Unreachable, "")));
        for status in [409, 423, 503] {
            assert!(is_passing(&Error::answered(status, failure.clone())), "{status}");
        }
        let taken = Error::new(Code::AlreadyExists, "").failure().clone();
        for status in [400, 401, 403, 404, 409, 413, 507] {
            assert!(!is_passing(&Error::answered(status, taken.clone())), "{status}");
        }
        assert!(!is_passing(&Error::new(Code::NotSignedIn, "")));
    }

    #[test]
    fn the_time_begins_anew_with_every_byte_that_gets_through() {
        let mut retry = Retry::new(RetryOptions { retry_for: 60 });
        let mut now = retry.since;
        for position in [0, 1, 2] {
            let mut delays = Vec::new();
            while let Some(delay) = retry.delay(position, now) {
                now += delay;
                delays.push(delay);
            }
            assert!(delays[0] <= Duration::from_secs(2) && delays.len() > 3, "{delays:?}");
        }
        assert_eq!(Retry::new(RetryOptions { retry_for: 0 }).delay(0, now), None);
    }
}
