//! The gateway's LISTEN connections.

use std::convert::Infallible;
use std::time::Duration;

use nebula_connect::Server;
pub(crate) use nebula_listen::Event;

/// An idle connection is probed after this time, so that a server that vanished is noticed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Listens to a channel for as long as the future is polled.
pub(crate) async fn listen(mut server: Server, channel: &str, on_event: impl FnMut(Event<'_>)) -> Infallible {
    server.config_mut().application_name("nebula-gateway listener").keepalives_idle(KEEPALIVE_IDLE);
    nebula_listen::listen(&server, channel, on_event).await
}
