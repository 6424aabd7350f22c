//! Live events of this gateway: one LISTEN connection, any number of subscribers.
//!
//! A message says only that something may have changed: every role that may connect to the database can send one.
//! Changes that the database confirms are published; subscribers ask for it again, so a lost message costs freshness and
//! never correctness. A subscriber that is too slow, or was there while the database was away, gets a reset.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use nebula_api::event::Change;
use nebula_connect::Server;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::listener;
use crate::error::ApiError;

/// Messages kept for a busy subscriber; one that is further behind gets a reset.
const BACKLOG: usize = 1024;
/// Hints that are confirmed at a time; when more come, subscribers get a reset instead.
const MAX_HINTS: usize = 512;
/// Pause between two questions to the database, and between two resets.
const INTERVAL: Duration = Duration::from_millis(20);
const RESET_INTERVAL: Duration = Duration::from_secs(1);

/// Pause between two relayed changes: each makes every open page ask again.
const RELAY_PAUSE: Duration = Duration::from_millis(500);

/// A server-sent event, ready to be sent to any number of subscribers.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Something changed in a project, or in none.
    Change { project: Option<Uuid>, event: Option<i64>, frame: Bytes },
    /// Something may have been missed.
    Reset,
}

/// The payload of a notification, as far as it is needed to look up what it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Hint {
    /// The number of a recorded event; of changes without a record the others are looked at.
    event: Option<i64>,
    project: Option<Uuid>,
    subject: String,
    id: String,
    action: String,
}

impl Hint {
    /// The database had more changes than it sends one by one.
    fn is_reset(&self) -> bool {
        self.action == "reset" && self.id.is_empty()
    }
}

/// Asks the database which hints are true.
pub(crate) type Confirm =
    dyn Fn(Vec<Hint>) -> BoxFuture<'static, Result<Vec<Change>, ApiError>> + Send + Sync;

/// Hints that nobody has looked up yet, and whether there were more than can be.
#[derive(Debug, Default)]
struct Pending {
    hints: HashSet<Hint>,
    overflowed: bool,
}

/// Clones share the subscribers.
#[derive(Debug, Clone)]
pub(crate) struct EventHub {
    sender: broadcast::Sender<Arc<Notice>>,
    pending: Arc<Mutex<Pending>>,
    arrived: Arc<Notify>,
}

/// A hub that hears nothing.
impl Default for EventHub {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        Self { sender, pending: Arc::default(), arrived: Arc::default() }
    }
}

impl EventHub {
    /// Listens in the background until `stopping` is cancelled; the database need not be there yet.
    pub(crate) fn start(server: Server, confirm: Box<Confirm>, stopping: CancellationToken) -> Self {
        let hub = Self::default();
        let (heard, publisher) = (hub.clone(), hub.clone());
        tokio::spawn(async move {
            let listening = listener::listen(server, "nebula_event", |event| match event {
                // Notifications sent before this moment are lost.
                listener::Event::Connected => heard.publish(Notice::Reset),
                listener::Event::Notification(payload) => heard.hear(payload),
                listener::Event::Disconnected => {}
            });
            let publishing = publisher.publish_confirmed(&*confirm);
            stopping.run_until_cancelled(futures::future::join(listening, publishing)).await
        });
        hub
    }

    /// Tells subscribers in the background of changes that are no event of the database, such as what the
    /// agents of nodes acknowledge. Only administrators see them, because they name no project.
    pub(crate) fn relay(
        &self,
        subject: &'static str,
        mut changes: watch::Receiver<u64>,
        stopping: CancellationToken,
    ) {
        let hub = self.clone();
        tokio::spawn(stopping.run_until_cancelled_owned(async move {
            while changes.changed().await.is_ok() {
                hub.publish(notice(&Change {
                    project: None,
                    subject: subject.to_owned(),
                    id: String::new(),
                    action: "change".to_owned(),
                    event: None,
                }));
                sleep(RELAY_PAUSE).await;
            }
        }));
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.sender.subscribe()
    }

    /// Keeps a hint to be looked up. One that cannot be read is of somebody else.
    fn hear(&self, payload: &str) {
        let Ok(hint) = serde_json::from_str::<Hint>(payload) else { return };
        if self.sender.receiver_count() == 0 {
            return;
        }
        let mut pending = self.lock();
        if hint.is_reset() || pending.hints.len() >= MAX_HINTS {
            pending.overflowed = true;
        } else {
            pending.hints.insert(hint);
        }
        drop(pending);
        self.arrived.notify_one();
    }

    /// Publishes what the database confirms, for as long as the future is polled.
    async fn publish_confirmed(&self, confirm: &Confirm) {
        let mut next_reset = Instant::now();
        loop {
            self.arrived.notified().await;
            if !self.publish_known(confirm).await {
                sleep_until(next_reset).await;
                self.publish(Notice::Reset);
                next_reset = Instant::now() + RESET_INTERVAL;
            }
            sleep(INTERVAL).await;
        }
    }

    /// Publishes what the database confirms of the hints so far; whether that is all that may have happened.
    async fn publish_known(&self, confirm: &Confirm) -> bool {
        let Pending { hints, overflowed } = mem::take(&mut *self.lock());
        if hints.is_empty() {
            return !overflowed;
        }
        // Subscribers then ask themselves.
        let Ok(changes) = confirm(hints.into_iter().collect()).await else { return false };
        changes.iter().for_each(|change| self.publish(notice(change)));
        !overflowed
    }

    /// Sending fails if there is no subscriber, which is not an error here.
    fn publish(&self, notice: Notice) {
        let _ = self.sender.send(Arc::new(notice));
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frame of a change. Serialized, so that no line break in it can end the frame.
fn notice(change: &Change) -> Notice {
    match serde_json::to_string(change) {
        Ok(data) => Notice::Change {
            project: change.project,
            event: change.event,
            frame: format!("event: change\ndata: {data}\n\n").into(),
        },
        Err(_) => Notice::Reset,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_change_becomes_one_frame() {
        let change =
            serde_json::from_str(r#"{"project":null,"subject":"file","id":"a\nb","action":"upload"}"#);
        let Notice::Change { project: None, frame, .. } = notice(&change.unwrap()) else {
            panic!("not a change")
        };
        assert_eq!(
            frame,
            "event: change\ndata: \
             {\"project\":null,\"subject\":\"file\",\"id\":\"a\\nb\",\"action\":\"upload\"}\n\n"
        );
    }

    fn payload(id: usize, action: &str) -> String {
        format!(r#"{{"project":null,"subject":"job","id":"{id}","action":"{action}","event":null}}"#)
    }

    #[tokio::test]
    async fn only_what_the_database_confirms_is_published_and_each_once() {
        let hub = EventHub::default();
        hub.hear(&payload(1, "before anybody listens"));
        let mut receiver = hub.subscribe();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        // The database knows job 1 alone.
        let confirm = move |hints: Vec<Hint>| {
            record.lock().unwrap().push(hints.len());
            let known = hints.into_iter().filter(|hint| hint.id == "1");
            let change =
                |Hint { subject, id, action, .. }| Change { project: None, subject, id, action, event: None };
            futures::future::ready(Ok(known.map(change).collect())).boxed()
        };
        for heard in [payload(1, "claim"), payload(2, "claim"), payload(1, "claim"), "nonsense".into()] {
            hub.hear(&heard);
        }
        assert!(hub.publish_known(&confirm).await);
        assert!(matches!(&*receiver.try_recv().unwrap(), Notice::Change { .. }));
        assert!(receiver.try_recv().is_err());

        // More than the database is asked about, and resets that somebody sends without end.
        (0..2 * MAX_HINTS).for_each(|id| hub.hear(&payload(id + 10, "claim")));
        assert!(!hub.publish_known(&confirm).await);
        let reset = r#"{"project":null,"subject":"job","id":"","action":"reset"}"#;
        (0..3).for_each(|_| hub.hear(reset));
        assert!(!hub.publish_known(&confirm).await);
        assert!(hub.publish_known(&confirm).await);
        assert_eq!(*asked.lock().unwrap(), [2, MAX_HINTS]);

        hub.hear(&payload(1, "claim"));
        let away = |_: Vec<Hint>| futures::future::ready(Err(ApiError::bad_argument("away"))).boxed();
        assert!(!hub.publish_known(&away).await, "not known, so subscribers are to ask");
    }
}
