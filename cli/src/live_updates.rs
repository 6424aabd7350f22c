//! Waiting for changes at the gateway, announced by its event stream.

use std::time::Duration;

use futures::StreamExt;
use futures::future::pending;
use futures::stream::BoxStream;
use reqwest::Method;
use tokio::time::{sleep, timeout};

use crate::client::Client;

/// Longest wait, since the stream may be unavailable or miss a change.
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// Shortest wait, however many events arrive.
const MIN_INTERVAL: Duration = Duration::from_millis(150);

/// An event stream that is opened when it is first needed.
pub(crate) struct LiveUpdates<'a> {
    client: &'a Client,
    stream: Option<BoxStream<'a, Option<Vec<u8>>>>,
}

impl<'a> LiveUpdates<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, stream: None }
    }

    /// Returns when something may have changed; the caller then reads it. Without a stream this is a poll.
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
            // Comments only keep the connection open. A "data:" that is split between two chunks is missed;
            // the poll makes up for it.
            if chunk.windows(5).any(|window| window == b"data:") {
                return;
            }
        }
        self.stream = None;
        pending().await
    }
}
