//! How long an allocation waits for addresses that other transactions are about to hold.

use std::time::{Duration, Instant};

use crate::pg::session::{deadlock_timeout, lock_timeout};

/// Waits that grow from one to the next, up to `lock_timeout` in total.
///
/// The server can wait for one transaction at a time, but any transaction in flight may give an address back.
/// So the waits begin short, and the search is repeated in between. They grow beyond `deadlock_timeout`: when
/// two transactions each wait for an address of the other, the server detects the deadlock and ends one with
/// SQLSTATE 40P01.
pub(super) struct WaitBackoff {
    started: Instant,
    next: Duration,
    /// `lock_timeout`; `None`: unlimited.
    limit: Option<Duration>,
}

impl WaitBackoff {
    const FIRST: Duration = Duration::from_millis(5);

    pub(super) fn new() -> Self {
        let limit = lock_timeout();
        Self {
            started: Instant::now(),
            next: Self::FIRST,
            limit: (limit > 0).then(|| Duration::from_millis(limit)),
        }
    }

    /// The length of the next wait; `None` when `lock_timeout` has passed.
    pub(super) fn next_wait(&mut self) -> Option<Duration> {
        let longest = Duration::from_millis(deadlock_timeout().saturating_mul(2));
        let wait = self.next.min(longest);
        self.next = self.next.saturating_mul(2).min(longest);
        let Some(limit) = self.limit else { return Some(wait) };
        let left = limit.saturating_sub(self.started.elapsed());
        (!left.is_zero()).then(|| wait.min(left).max(Duration::from_millis(1)))
    }
}
