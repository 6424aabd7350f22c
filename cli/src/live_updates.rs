//! Waiting for something to change over there, told by the gateway's live stream.

use std::time::Duration;

use futures::StreamExt;
use futures::future::pending;
use futures::stream::BoxStream;
use reqwest::Method;
use tokio::time::{sleep, timeout};

use crate::client::Client;

/// Looks again at the latest after this, for what the stream did not tell.
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// Looks again at the earliest after this, however busy the stream is.
const MIN_INTERVAL: Duration = Duration::from_millis(150);

/// An open stream, or the wish for one.
pub(crate) struct LiveUpdates<'a> {
    client: &'a Client,
    stream: Option<BoxStream<'a, Option<Vec<u8>>>>,
}

impl<'a> LiveUpdates<'a> {
    /// Connects when first waited for.
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, stream: None }
    }

    /// Returns when something has changed, or may have: the caller looks for itself. Without a stream it is a poll.
    pub(crate) async fn changed(&mut self) {
        sleep(MIN_INTERVAL).await;
        let _ = timeout(MAX_INTERVAL, self.event()).await;
    }

    async fn event(&mut self) {
        if self.stream.is_none() {
            let build = || Ok(self.client.request(Method::GET, "/api/stream"));
            let Ok(response) = self.client.send(build).await else { return pending().await };
            let chunks = response.bytes_stream().map(|chunk| chunk.ok().map(Vec::from));
            self.stream = Some(chunks.boxed());
        }
        let Some(stream) = &mut self.stream else { return pending().await };
        while let Some(Some(chunk)) = stream.next().await {
            // Comments keep the connection open; a "data:" cut in two is caught by the poll.
            if chunk.windows(5).any(|window| window == b"data:") {
                return;
            }
        }
        self.stream = None;
        pending().await
    }
}
