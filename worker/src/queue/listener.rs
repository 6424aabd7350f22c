//! Wakes the claim loop when PostgreSQL announces a job on channel `nebula_job`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use nebula_connect::Server;
use nebula_listen::Event;
use tokio::sync::Notify;

/// Between two questions whether a pooler is in between.
const PROBE_PAUSE: Duration = Duration::from_secs(10);

/// Wakes `wake` whenever a job of one of `kinds` may be waiting; runs until dropped, through every outage.
pub(super) async fn listen(server: Server, kinds: Vec<&'static str>, wake: Arc<Notify>) -> Infallible {
    let on_event = |event: Event<'_>| match event {
        // Jobs enqueued before this moment were not announced to this session.
        Event::Connected => wake.notify_one(),
        Event::Notification(kind) if kind.is_empty() || kinds.contains(&kind) => wake.notify_one(),
        Event::Notification(_) | Event::Disconnected => {}
    };
    let (listening, ()) =
        tokio::join!(nebula_listen::listen(&server, "nebula_job", on_event), tell_of_pooler(&server));
    listening
}

/// Logs whether notifications can arrive. Asks again as long as the database gives no answer, as when a pooler
/// has no session free.
async fn tell_of_pooler(server: &Server) {
    loop {
        match server.shares_sessions().await {
            Ok(true) => {
                return tracing::warn!(
                    "a pooler in transaction mode is in between, behind which LISTEN hears nothing: jobs are \
                     found by looking every NEBULA_POLL seconds; set NEBULA_DATABASE_LISTEN_URL to \
                     PostgreSQL's own address"
                );
            }
            Ok(false) => return tracing::info!("LISTEN has a session of its own"),
            Err(error) => tracing::debug!(%error, "whether LISTEN has a session of its own is not known yet"),
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}
