//! `LISTEN` on one PostgreSQL channel, on a connection of its own that is opened again whenever it breaks.
//!
//! PostgreSQL keeps no notification for a session that is not connected. The caller therefore learns when
//! listening begins and must then look for what it missed.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, stream};
use nebula_connect::Server;
use tokio::time::sleep;
use tokio_postgres::AsyncMessage;

/// Delays between attempts to connect; jitter adds up to the same again, so that the clients of a restarted
/// server do not all come back at once.
const RECONNECT: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(125))
    .with_max_delay(Duration::from_secs(15))
    .with_jitter()
    .without_max_times();

/// Something that happened on the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// `LISTEN` has taken effect. Notifications sent before this moment are lost.
    Connected,
    /// The payload of a notification.
    Notification(&'a str),
    /// The connection broke or could not be made. Another attempt follows.
    Disconnected,
}

/// Listens to `channel`, which must be a valid SQL identifier, for as long as the future is polled.
///
/// The first failure of an outage is logged as a warning, the following ones at level debug.
pub async fn listen(server: &Server, channel: &str, mut on_event: impl FnMut(Event<'_>)) -> Infallible {
    let mut delays = RECONNECT.build();
    let mut is_new_outage = true;
    loop {
        let mut connected = false;
        let ended = listen_once(server, channel, |event| {
            connected |= event == Event::Connected;
            on_event(event);
        });
        let error = ended
            .await
            .err()
            .map_or_else(|| "connection closed by the server".to_owned(), |e| with_source(&e));
        on_event(Event::Disconnected);
        if connected {
            delays = RECONNECT.build();
            is_new_outage = true;
        }
        if std::mem::take(&mut is_new_outage) {
            tracing::warn!(channel, error, "not listening, will reconnect");
        } else {
            tracing::debug!(channel, error, "still not listening");
        }
        if let Some(delay) = delays.next() {
            sleep(delay).await;
        }
    }
}

/// One connection from start to end.
async fn listen_once(
    server: &Server,
    channel: &str,
    mut on_event: impl FnMut(Event<'_>),
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = server.connect().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let statement = format!("LISTEN {channel}");
    let mut command = pin!(client.batch_execute(&statement));
    let mut is_listening = false;
    loop {
        // Replies arrive only while the connection is polled, the one to LISTEN included.
        let notification = tokio::select! {
            reply = &mut command, if !is_listening => {
                reply?;
                None
            }
            message = messages.next() => match message.transpose()? {
                Some(AsyncMessage::Notification(notification)) => Some(notification),
                Some(_) => continue,
                None => return Ok(()),
            },
        };
        // A notification that came in the same packet as the reply may be seen first; it proves that LISTEN
        // works.
        if !std::mem::replace(&mut is_listening, true) {
            tracing::info!(channel, "listening");
            on_event(Event::Connected);
        }
        if let Some(notification) = notification {
            on_event(Event::Notification(notification.payload()));
        }
    }
}

/// The error with the reason below it: `tokio_postgres` shows only "error connecting to server".
fn with_source(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
