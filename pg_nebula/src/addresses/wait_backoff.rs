//! How long a session waits for addresses in flight.

use std::time::{Duration, Instant};

use crate::pg::session::{deadlock_timeout, lock_timeout};

/// How long a session has waited, and how long it will.
///
/// The server can wait for one transaction at a time, but any in flight may give an address back. So the waits are
/// short at first and grow, with a look around in between. The longest outlasts deadlock_timeout, so that two
/// transactions which each hold the other's last hope are told apart from patience: the server ends one of them
/// with 40P01.
pub(super) struct WaitBackoff {
    started: Instant,
    next: Duration,
    /// lock_timeout, as for any lock.
    limit: Option<Duration>,
}

impl WaitBackoff {
    const FIRST: Duration = Duration::from_millis(5);

    /// Starts the clock.
    pub(super) fn new() -> Self {
        let limit = lock_timeout();
        Self {
            started: Instant::now(),
            next: Self::FIRST,
            limit: (limit > 0).then(|| Duration::from_millis(limit)),
        }
    }

    /// How long to wait before the next look; `None` when lock_timeout has passed.
    pub(super) fn next(&mut self) -> Option<Duration> {
        let longest = Duration::from_millis(deadlock_timeout().saturating_mul(2));
        let wait = self.next.min(longest);
        self.next = self.next.saturating_mul(2).min(longest);
        let Some(limit) = self.limit else { return Some(wait) };
        let left = limit.saturating_sub(self.started.elapsed());
        (!left.is_zero()).then(|| wait.min(left).max(Duration::from_millis(1)))
    }
}
