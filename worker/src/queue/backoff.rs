//! Waiting longer from try to try, and never in step with other workers.

use std::time::Duration;

/// Grows from try to try up to `most`, with jitter so that many workers do not come back in step.
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// Sleeps, longer each time.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(jittered(self.next)).await;
        self.next = (self.next * 2).min(self.most);
    }
}

/// Between half and one and a half of `duration`.
pub(super) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.5..1.5))
}
