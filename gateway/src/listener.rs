//! A LISTEN connection to one channel, made again whenever it breaks.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// First and longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// An idle connection is probed after this, so that a vanished server is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What a listener hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// It begins to listen: what happened while it did not is unknown.
    Begun,
    /// The payload of a notification.
    Payload(&'a str),
}

/// Listens for as long as it is polled.
pub(crate) async fn run(mut config: Config, channel: &str, mut hear: impl FnMut(Heard<'_>)) -> Infallible {
    config.application_name("nebula-gateway listener");
    config.keepalives_idle(KEEPALIVE);
    let mut wait = BACKOFF.0;
    loop {
        let mut heard = false;
        match listen(&config, channel, &mut hear, &mut heard).await {
            Ok(()) => tracing::warn!(channel, "the database closed the listening connection"),
            Err(error) => {
                tracing::warn!(channel, error = crate::error::with_source(&error), "cannot listen");
            }
        }
        // A connection that had worked is worth a quick try.
        wait = if heard { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
        tokio::time::sleep(wait).await;
    }
}

/// One connection from start to end; `listening` is set once it works.
async fn listen(
    config: &Config,
    channel: &str,
    hear: &mut impl FnMut(Heard<'_>),
    listening: &mut bool,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let listen = format!("LISTEN {channel}");
    let mut command = pin!(client.batch_execute(&listen));
    loop {
        // The connection moves only while it is polled, the answer to LISTEN included.
        tokio::select! {
            answer = &mut command, if !*listening => {
                answer?;
                *listening = true;
                tracing::info!(channel, "listening");
                hear(Heard::Begun);
            }
            message = messages.next() => match message.transpose()? {
                Some(AsyncMessage::Notification(heard)) => hear(Heard::Payload(heard.payload())),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
