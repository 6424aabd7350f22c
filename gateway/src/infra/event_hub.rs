//! Live events of this gateway: one LISTEN connection, any number of subscribers.
//!
//! A message says only that something changed, and subscribers ask for it again, so a lost message costs
//! freshness and never correctness. A subscriber that is too slow, or was there while the database was away,
//! gets a reset.

use std::sync::Arc;

use bytes::Bytes;
use nebula_api::event::Change;
use nebula_connect::Server;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::listener;

/// Messages kept for a busy subscriber; one that is further behind gets a reset.
const BACKLOG: usize = 1024;

/// A server-sent event, ready to be sent to any number of subscribers.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Something changed in a project, or in none.
    Change { project: Option<Uuid>, frame: Bytes },
    /// Something may have been missed.
    Reset,
}

/// Clones share the subscribers.
#[derive(Debug, Clone)]
pub(crate) struct EventHub {
    sender: broadcast::Sender<Arc<Notice>>,
}

impl EventHub {
    /// Listens in the background until `stopping` is cancelled; the database need not be there yet.
    pub(crate) fn start(server: Server, stopping: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let hub = Self { sender };
        let publisher = hub.clone();
        tokio::spawn(async move {
            let listening = listener::listen(server, "nebula_event", |event| match event {
                // Notifications sent before this moment are lost.
                listener::Event::Connected => publisher.publish(Notice::Reset),
                listener::Event::Notification(payload) => publisher.publish(notice(payload)),
                listener::Event::Disconnected => {}
            });
            stopping.run_until_cancelled(listening).await
        });
        hub
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.sender.subscribe()
    }

    /// Sending fails if there is no subscriber, which is not an error here.
    fn publish(&self, notice: Notice) {
        let _ = self.sender.send(Arc::new(notice));
    }
}

/// Reads the payload of a notification; an unreadable one is a change of unknown extent.
fn notice(payload: &str) -> Notice {
    let change: Change = match serde_json::from_str(payload) {
        Ok(change) => change,
        Err(error) => {
            tracing::warn!(%error, "a notification of channel nebula_event cannot be read");
            return Notice::Reset;
        }
    };
    // The database had more changes than it sends one by one.
    if change.action == "reset" && change.id.is_empty() {
        return Notice::Reset;
    }
    // Serialized again rather than passed on, so that no line break in it can end the frame.
    match serde_json::to_string(&change) {
        Ok(data) => Notice::Change {
            project: change.project,
            frame: format!("event: change\ndata: {data}\n\n").into(),
        },
        Err(_) => Notice::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_becomes_one_frame() {
        let payload = r#"{"project" : null, "subject" : "file", "id" : "a\nb", "action" : "upload"}"#;
        let Notice::Change { project: None, frame } = notice(payload) else { panic!("not a change") };
        assert_eq!(
            frame,
            "event: change\ndata: \
             {\"project\":null,\"subject\":\"file\",\"id\":\"a\\nb\",\"action\":\"upload\"}\n\n"
        );
        assert!(matches!(notice("transcode"), Notice::Reset));
        let overflow = r#"{"project":null,"subject":"job","id":"","action":"reset"}"#;
        assert!(matches!(notice(overflow), Notice::Reset));
    }
}
