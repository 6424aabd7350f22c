//! The gateway's one LISTEN connection, made again whenever it breaks.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio_postgres::{AsyncMessage, Config, NoTls};

use super::{Events, Notice, notice};
use crate::error::with_source;

/// First and longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// An idle connection is probed after this, so that a vanished server is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Listens for as long as it is polled.
pub(super) async fn run(mut config: Config, events: Events) -> Infallible {
    config.application_name("nebula-gateway listener");
    config.keepalives_idle(KEEPALIVE);
    let mut wait = BACKOFF.0;
    loop {
        let mut heard = false;
        match listen(&config, &events, &mut heard).await {
            Ok(()) => tracing::warn!("the database closed the listening connection"),
            Err(error) => tracing::warn!(error = with_source(&error), "cannot listen for events"),
        }
        // A connection that had worked is worth a quick try.
        wait = if heard { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
        tokio::time::sleep(wait).await;
    }
}

/// One connection from start to end; `listening` is set once it works.
async fn listen(config: &Config, events: &Events, listening: &mut bool) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let mut command = pin!(client.batch_execute("LISTEN nebula_event"));
    loop {
        // The connection moves only while it is polled, the answer to LISTEN included.
        tokio::select! {
            answer = &mut command, if !*listening => {
                answer?;
                *listening = true;
                tracing::info!("listening for events");
                // Whatever happened while nobody listened is unknown.
                events.publish(Notice::Reset);
            }
            message = messages.next() => match message.transpose()? {
                Some(AsyncMessage::Notification(heard)) => events.publish(notice(heard.payload())),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
