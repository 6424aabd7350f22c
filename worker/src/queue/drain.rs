//! Stopping: jobs that will be done in a moment are finished, all others go to another worker at once.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::handler::request;
use super::{Report, Stop};

/// Passes a shutdown on to a job, after `grace` when the job may be done by then.
pub(super) async fn stop_at(
    shutdown: &CancellationToken,
    grace: Duration,
    started: Instant,
    latest: &watch::Receiver<Report>,
    stop: &watch::Sender<Option<Stop>>,
) -> Infallible {
    shutdown.cancelled().await;
    let progress = latest.borrow().progress;
    if may_end_within(grace, started.elapsed(), progress) {
        sleep(grace).await;
    }
    request(stop, Stop::Stopping);
    std::future::pending().await
}

/// Whether a job that has come so far in `elapsed` may be done in `grace`; one that does not say how far it is may.
fn may_end_within(grace: Duration, elapsed: Duration, progress: Option<f32>) -> bool {
    match progress {
        None | Some(0.0) => true,
        Some(done) => elapsed.as_secs_f32() * (1.0 - done) / done <= grace.as_secs_f32(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_are_nearly_done_are_waited_for() {
        let may = |elapsed, progress| {
            may_end_within(Duration::from_secs(5), Duration::from_secs(elapsed), progress)
        };
        assert!(may(3600, None) && may(3600, Some(0.0)), "who says nothing may be about to end");
        assert!(may(100, Some(0.96)) && may(5, Some(0.5)) && may(9999, Some(1.0)));
        assert!(!may(100, Some(0.9)) && !may(6, Some(0.5)) && !may(3600, Some(0.01)));
    }
}
