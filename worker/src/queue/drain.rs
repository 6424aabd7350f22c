//! Shutdown: jobs that are nearly done may finish, all others are handed back to other workers at once.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::handler::{Report, Stop, request_stop};

/// Requests the stop of a job at shutdown: at once, or after `grace` when the job may finish within it.
pub(super) async fn stop_on_shutdown(
    shutdown: &CancellationToken,
    grace: Duration,
    started: Instant,
    latest: &watch::Receiver<Report>,
    stop: &watch::Sender<Option<Stop>>,
) -> Infallible {
    shutdown.cancelled().await;
    let progress = latest.borrow().progress;
    if may_finish_within(grace, started.elapsed(), progress) {
        sleep(grace).await;
    }
    request_stop(stop, Stop::Stopping);
    std::future::pending().await
}

/// Requests the stop of a job as soon as no job is to run.
pub(super) async fn stop_on_pause(
    mut pause: watch::Receiver<Option<String>>,
    stop: &watch::Sender<Option<Stop>>,
) -> Infallible {
    if pause.wait_for(Option::is_some).await.is_ok() {
        request_stop(stop, Stop::Paused);
    }
    std::future::pending().await
}

/// Whether the rest of the job fits into `grace` at the speed so far. A job without progress gets the benefit
/// of the doubt.
fn may_finish_within(grace: Duration, elapsed: Duration, progress: Option<f32>) -> bool {
    match progress {
        None | Some(0.0) => true,
        Some(done) => elapsed.as_secs_f32() * (1.0 - done) / done <= grace.as_secs_f32(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_can_finish_within_the_grace_are_waited_for() {
        let may = |elapsed, progress| {
            may_finish_within(Duration::from_secs(5), Duration::from_secs(elapsed), progress)
        };
        assert!(may(3600, None) && may(3600, Some(0.0)), "a job without progress may be about to finish");
        assert!(may(100, Some(0.96)) && may(5, Some(0.5)) && may(9999, Some(1.0)));
        assert!(!may(100, Some(0.9)) && !may(6, Some(0.5)) && !may(3600, Some(0.01)));
    }
}
