//! Runs a handler so that neither a panic nor a deaf one harms the worker.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, spawn};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{Context, Failure, Handler, Job, Outcome, Stop};

/// Runs the handler to its end, or until it has overstayed a stop by `patience`; then its future is dropped.
/// `stopper` is polled beside it.
pub(super) async fn run(
    handler: Arc<dyn Handler>,
    job: Job,
    context: Context,
    patience: Duration,
    stopper: impl Future<Output = Infallible>,
) -> Result<Outcome, Failure> {
    let stopped = context.stop.clone();
    // A task of its own catches a panic, and is dropped with this future.
    let mut work = AbortOnDropHandle::new(spawn(async move { handler.run(job, context).await }));
    tokio::select! {
        outcome = &mut work => outcome.unwrap_or_else(|end| Err(obituary(end))),
        () = overstayed(stopped, patience) => Err(Failure {
            error: format!("the job did not stop within {patience:?} and was dropped"),
            retryable: true,
        }),
        never = stopper => match never {},
    }
}

async fn overstayed(mut stopped: watch::Receiver<Option<Stop>>, patience: Duration) {
    if stopped.wait_for(Option::is_some).await.is_err() {
        // Nobody can ask any more.
        std::future::pending::<()>().await;
    }
    sleep(patience).await;
}

/// A panic may be the input's fault or the moment's, so it is tried again; the number of attempts ends it.
fn obituary(end: JoinError) -> Failure {
    let error = match end.try_into_panic() {
        Ok(payload) => format!("the handler panicked: {}", words(payload.as_ref())),
        Err(end) => format!("the handler was ended: {end}"),
    };
    Failure { error, retryable: true }
}

/// What a panic said; anything but text is possible and rare.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use serde_json::Value;

    use super::*;
    use crate::queue::Report;
    use crate::queue::handler::request;

    /// Does what its payload says.
    struct Puppet;

    impl Handler for Puppet {
        fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
            assert_ne!(job.payload, "panic at once", "at once");
            Box::pin(async move {
                match job.payload.as_str() {
                    Some("panic") => panic!("number {}", 7),
                    Some("deaf") => std::future::pending().await,
                    _ => drop(context.stopped().await),
                }
                Err(Failure { error: "stopped as asked".into(), retryable: true })
            })
        }
    }

    /// Runs the puppet, and stops it at once when `stop` is given.
    async fn play(payload: &str, stop: Option<Stop>) -> String {
        let (report, _latest) = watch::channel(Report::default());
        let (sender, receiver) = watch::channel(None);
        let job = Job { id: 1, kind: "puppet".into(), payload: Value::from(payload), attempt: 1 };
        let patience = Duration::from_millis(50);
        let stopper = async {
            stop.inspect(|stop| request(&sender, *stop));
            std::future::pending().await
        };
        let end = run(Arc::new(Puppet), job, Context { report, stop: receiver }, patience, stopper).await;
        let Err(failure) = end else { panic!("the puppet never succeeds") };
        assert!(failure.retryable);
        failure.error
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_words() {
        assert_eq!(play("panic", None).await, "the handler panicked: number 7");
        assert!(play("panic at once", None).await.contains("at once"));
    }

    #[tokio::test]
    async fn who_is_told_to_stop_stops_or_is_dropped() {
        assert_eq!(play("polite", Some(Stop::Cancelled)).await, "stopped as asked");
        assert!(play("deaf", Some(Stop::LeaseLost)).await.contains("did not stop within 50ms"));
    }
}
