//! Tells what is open that a right may have ended: one LISTEN connection, any number of streams.
//!
//! The message says no more than that, and every role that may connect to the database can send it; so a stream asks the
//! database itself.

use nebula_connect::Server;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::listener;

/// Clones share the streams.
#[derive(Debug, Clone)]
pub(crate) struct AccessHub(watch::Sender<u64>);

/// A hub that hears nothing.
impl Default for AccessHub {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl AccessHub {
    /// Listens in the background until `stopping` is cancelled; the database need not be there yet.
    pub(crate) fn start(server: Server, stopping: CancellationToken) -> Self {
        let hub = Self::default();
        let heard = hub.clone();
        tokio::spawn(stopping.run_until_cancelled_owned(async move {
            listener::listen(server, "nebula_access", |event| match event {
                // Notifications sent before this moment are lost.
                listener::Event::Connected | listener::Event::Notification(_) => heard.tell(),
                listener::Event::Disconnected => {}
            })
            .await
        }));
        hub
    }

    /// Changes whenever a right may have ended.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    fn tell(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}
