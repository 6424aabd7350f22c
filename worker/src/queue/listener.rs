//! `LISTEN nebula_job` on a connection of its own, because a notification only reaches an idle reader.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Config, NoTls};

use super::QueueError;
use super::backoff::Backoff;

/// Wakes `wake` whenever a job of one of `kinds` may be waiting; runs until dropped, through every outage.
pub(super) async fn listen(config: Config, kinds: Vec<&'static str>, wake: Arc<Notify>) {
    let fresh = || Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let mut backoff = fresh();
    let mut is_known = false;
    loop {
        let ended = listen_once(&config, &kinds, &wake, || {
            backoff = fresh();
            is_known = false;
        });
        let error = match ended.await {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => QueueError::from(error).to_string(),
        };
        // Once per outage; the backoff goes on in silence.
        if !std::mem::replace(&mut is_known, true) {
            tracing::warn!("cannot listen for jobs, polling meanwhile: {error}");
        }
        backoff.wait().await;
    }
}

/// Listens until the connection ends.
async fn listen_once(
    config: &Config,
    kinds: &[&'static str],
    wake: &Notify,
    connected: impl FnOnce(),
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let listening = async {
        client.batch_execute("LISTEN nebula_job").await?;
        connected();
        // What was enqueued before this moment was announced to nobody here.
        wake.notify_one();
        std::future::pending().await
    };
    let reading = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message?
                && (notification.payload().is_empty() || kinds.contains(&notification.payload()))
            {
                wake.notify_one();
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = listening => ended,
        ended = reading => ended,
    }
}
