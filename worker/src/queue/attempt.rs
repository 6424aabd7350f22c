//! Runs one handler: a panic fails the attempt only, and a handler that ignores a stop request is dropped.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, spawn};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::handler::{Context, Failure, Handler, Job, Outcome, Stop};

/// Runs the handler to its end. When it is still running `stop_timeout` after a stop request, its future is
/// dropped. `stopper`, the future that requests the stop at shutdown, is polled alongside.
pub(super) async fn run(
    handler: Arc<dyn Handler>,
    job: Job,
    context: Context,
    stop_timeout: Duration,
    stopper: impl Future<Output = Infallible>,
) -> Result<Outcome, Failure> {
    let stop = context.stop.clone();
    // A task of its own catches a panic; the handle aborts the task when this future is dropped.
    let mut work = AbortOnDropHandle::new(spawn(async move { handler.run(job, context).await }));
    tokio::select! {
        outcome = &mut work => outcome.unwrap_or_else(|error| Err(join_failure(error))),
        () = stop_timed_out(stop, stop_timeout) => {
            Err(Failure::transient(format!("the job did not stop within {stop_timeout:?} and was dropped")))
        }
        never = stopper => match never {},
    }
}

/// Returns `stop_timeout` after a stop was requested.
async fn stop_timed_out(mut stop: watch::Receiver<Option<Stop>>, stop_timeout: Duration) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // The sender is gone: no stop can be requested any more.
        std::future::pending::<()>().await;
    }
    sleep(stop_timeout).await;
}

/// A panic may have a passing cause, so the job is retried; `max_attempts` bounds the retries.
fn join_failure(error: JoinError) -> Failure {
    let error = match error.try_into_panic() {
        Ok(payload) => format!("the handler panicked: {}", panic_message(payload.as_ref())),
        Err(error) => format!("the handler was ended: {error}"),
    };
    Failure::transient(error)
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    // The payload of `panic_any` need not be text.
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use serde_json::Value;

    use super::super::database::Database;
    use super::*;
    use crate::queue::handler::{Report, Retry, request_stop};

    /// Behaves as the job's payload says.
    struct ScriptedHandler;

    impl Handler for ScriptedHandler {
        fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
            assert_ne!(job.payload, "panic at once", "at once");
            Box::pin(async move {
                match job.payload.as_str() {
                    Some("panic") => panic!("number {}", 7),
                    Some("never stop") => std::future::pending().await,
                    _ => drop(context.stopped().await),
                }
                Err(Failure::transient("stopped as asked"))
            })
        }
    }

    /// Runs the handler, requests `stop` at once when it is given, and returns the error.
    async fn error_of(payload: &str, stop: Option<Stop>) -> String {
        let (report, _latest) = watch::channel(Report::default());
        let (sender, receiver) = watch::channel(None);
        let job = Job { id: 1, kind: "scripted".into(), payload: Value::from(payload), attempt: 1 };
        let stop_timeout = Duration::from_millis(50);
        let stopper = async {
            stop.inspect(|stop| request_stop(&sender, *stop));
            std::future::pending().await
        };
        let server = nebula_connect::Server::parse("postgresql://nobody@127.0.0.1:1/none").unwrap();
        let rows = Arc::new(Database::new(&server));
        let context = Context { job: job.clone(), rows, report, stop: receiver };
        let Err(failure) = run(Arc::new(ScriptedHandler), job, context, stop_timeout, stopper).await else {
            panic!("the handler never succeeds")
        };
        assert_eq!(failure.retry, Retry::Counted);
        failure.error
    }

    #[tokio::test]
    async fn a_panic_becomes_a_failure_with_its_message() {
        assert_eq!(error_of("panic", None).await, "the handler panicked: number 7");
        assert!(error_of("panic at once", None).await.contains("at once"));
    }

    #[tokio::test]
    async fn a_handler_that_ignores_a_stop_request_is_dropped() {
        assert_eq!(error_of("stop", Some(Stop::Cancelled)).await, "stopped as asked");
        assert!(error_of("never stop", Some(Stop::LeaseLost)).await.contains("did not stop within 50ms"));
    }
}
