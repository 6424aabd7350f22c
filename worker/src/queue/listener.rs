//! Wakes the claim loop when PostgreSQL announces a job on channel `nebula_job`.

use std::convert::Infallible;
use std::sync::Arc;

use nebula_connect::Server;
use nebula_listen::Event;
use tokio::sync::Notify;

/// Wakes `wake` whenever a job of one of `kinds` may be waiting; runs until dropped, through every outage.
pub(super) async fn listen(server: Server, kinds: Vec<&'static str>, wake: Arc<Notify>) -> Infallible {
    // A database that does not answer yet is not asked again: the warning is worth less than another connection.
    if server.shares_sessions().await.unwrap_or(false) {
        tracing::warn!(
            "a pooler in transaction mode is in between, behind which LISTEN hears nothing: jobs are found by \
             looking every NEBULA_POLL seconds; set NEBULA_DATABASE_LISTEN_URL to PostgreSQL's own address"
        );
    }
    let on_event = |event: Event<'_>| match event {
        // Jobs enqueued before this moment were not announced to this session.
        Event::Connected => wake.notify_one(),
        Event::Notification(kind) if kind.is_empty() || kinds.contains(&kind) => wake.notify_one(),
        Event::Notification(_) | Event::Disconnected => {}
    };
    nebula_listen::listen(&server, "nebula_job", on_event).await
}
