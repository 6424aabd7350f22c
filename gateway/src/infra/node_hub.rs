//! Waits for changes of nodes, ended by notifications of channel nebula_node.
//!
//! The gateway LISTENs on one connection. A message says only that something wanted on a node changed, or
//! that its agent acknowledged something; those who wait then ask the database, so a lost message costs
//! freshness and never correctness.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nebula_connect::Server;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::listener;

/// Why the wait of an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeWake {
    /// The node changed, or messages may have been missed.
    Changed,
    /// Another call of the same node waits now.
    Replaced,
}

#[derive(Debug, Default)]
struct Table {
    next_number: u64,
    /// One agent for each node, and its number.
    agents: HashMap<Uuid, (u64, mpsc::Sender<()>)>,
}

/// Agents that wait for changes of their node, and requests that wait for any node; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct NodeHub {
    table: Arc<Mutex<Table>>,
    /// Counts messages.
    any: watch::Sender<u64>,
}

impl Default for NodeHub {
    fn default() -> Self {
        Self { table: Arc::default(), any: watch::Sender::new(0) }
    }
}

impl NodeHub {
    /// Listens in the background until `stopping` is cancelled; the database need not be there yet.
    pub(crate) fn start(server: Server, stopping: CancellationToken) -> Self {
        let hub = Self::default();
        let woken = hub.clone();
        tokio::spawn(async move {
            let listening = listener::listen(server, "nebula_node", |event| match event {
                listener::Event::Connected => woken.wake_all(),
                listener::Event::Notification(payload) => woken.on_notification(payload),
                listener::Event::Disconnected => {}
            });
            stopping.run_until_cancelled(listening).await
        });
        hub
    }

    /// Subscribes the agent of a node, and ends the wait of an earlier call: one that was cut off would keep
    /// its connection for a minute.
    pub(crate) fn subscribe(&self, node: Uuid) -> NodeSubscription {
        // Room for one message: several say no more than one.
        let (wake, woken) = mpsc::channel(1);
        let mut table = self.lock();
        let number = table.next_number;
        table.next_number += 1;
        // Dropping the sender of an earlier one ends its wait.
        table.agents.insert(node, (number, wake));
        NodeSubscription { hub: self.clone(), node, number, woken }
    }

    /// Changes whenever a message comes.
    pub(crate) fn any(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    /// How many agents wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().agents.len()
    }

    fn on_notification(&self, payload: &str) {
        let Ok(node) = payload.parse::<Uuid>() else {
            tracing::warn!("a notification of channel nebula_node cannot be read");
            return self.wake_all();
        };
        if let Some((_, wake)) = self.lock().agents.get(&node) {
            // Fails if it has been told already.
            let _ = wake.try_send(());
        }
        self.any.send_modify(|count| *count += 1);
    }

    fn wake_all(&self) {
        for (_, wake) in self.lock().agents.values() {
            let _ = wake.try_send(());
        }
        self.any.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct NodeSubscription {
    hub: NodeHub,
    node: Uuid,
    number: u64,
    woken: mpsc::Receiver<()>,
}

impl NodeSubscription {
    pub(crate) async fn woken(&mut self) -> NodeWake {
        self.woken.recv().await.map_or(NodeWake::Replaced, |()| NodeWake::Changed)
    }
}

impl Drop for NodeSubscription {
    fn drop(&mut self) {
        let mut table = self.hub.lock();
        if table.agents.get(&self.node).is_some_and(|(number, _)| *number == self.number) {
            table.agents.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn node(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn a_message_wakes_the_agent_of_its_node_and_every_request_that_waits() {
        let hub = NodeHub::default();
        let (mut one, mut other) = (hub.subscribe(node(1)), hub.subscribe(node(2)));
        let mut request = hub.any();
        hub.on_notification(&node(1).to_string());
        hub.on_notification(&node(1).to_string());
        assert_eq!(one.woken().now_or_never(), Some(NodeWake::Changed));
        assert_eq!(one.woken().now_or_never(), None, "two messages say no more than one");
        assert_eq!(other.woken().now_or_never(), None);
        assert!(request.changed().now_or_never().is_some());
        assert!(request.changed().now_or_never().is_none(), "seen");
        hub.on_notification("nonsense");
        assert_eq!(other.woken().now_or_never(), Some(NodeWake::Changed));
        assert!(request.changed().now_or_never().is_some());
    }

    #[test]
    fn one_agent_waits_for_each_node() {
        let hub = NodeHub::default();
        let (mut earlier, mut later) = (hub.subscribe(node(1)), hub.subscribe(node(1)));
        assert_eq!(earlier.woken().now_or_never(), Some(NodeWake::Replaced));
        drop(earlier);
        hub.on_notification(&node(1).to_string());
        assert_eq!(later.woken().now_or_never(), Some(NodeWake::Changed), "it is still subscribed");
        drop(hub.subscribe(node(3)));
        assert_eq!(hub.waiting(), 1, "a dropped subscription leaves nothing");
    }
}
