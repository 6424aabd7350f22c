//! The gateway's LISTEN connections.

use std::convert::Infallible;
use std::time::Duration;

pub(crate) use nebula_listen::Event;
use tokio_postgres::Config;

/// An idle connection is probed after this time, so that a server that vanished is noticed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Listens to a channel for as long as the future is polled.
pub(crate) async fn listen(mut config: Config, channel: &str, on_event: impl FnMut(Event<'_>)) -> Infallible {
    config.application_name("nebula-gateway listener").keepalives_idle(KEEPALIVE_IDLE);
    nebula_listen::listen(&config, channel, on_event).await
}
