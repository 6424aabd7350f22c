//! The worker's side of pg_nebula's job queue. Knows jobs, not media.
//!
//! `listener` wakes, `runner` claims and finishes, `lease` keeps a claimed job ours, `registry` finds who does a
//! kind of job, `database` holds every statement.

mod database;
mod lease;
mod listener;
mod registry;
mod runner;

use std::time::Duration;

pub use database::{Database, Job, QueueError};
pub use registry::{Context, Failure, Handler, Outcome, Registry, Rendition, Report, Stop};
pub use runner::Runner;

/// Grows from try to try up to `most`, with jitter so that many workers do not come back in step.
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// Sleeps, longer each time.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(jittered(self.next)).await;
        self.next = (self.next * 2).min(self.most);
    }
}

/// Between half and one and a half of `duration`.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.5..1.5))
}
