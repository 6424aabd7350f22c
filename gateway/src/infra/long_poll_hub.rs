//! Long polls of agents, woken by notifications about their project.
//!
//! The gateway LISTENs on one connection. A subscription is an entry in a table: which configuration the
//! agent runs, and a channel that wakes it. A message says only that something changed; the agent then asks,
//! so a lost message costs freshness and never correctness.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nebula_connect::Server;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::listener;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The project has a newer configuration.
    Configuration,
    /// Something about this device changed.
    Device,
    /// Messages may have been missed.
    Unknown,
}

/// A message of channel nebula_agent.
#[derive(Debug, Deserialize)]
struct Change {
    project: Uuid,
    version: i64,
    device: Option<Uuid>,
}

#[derive(Debug)]
struct Entry {
    device: Uuid,
    version: i64,
    wake: oneshot::Sender<Wake>,
}

/// Entries by project and number.
#[derive(Debug, Default)]
struct Table {
    next_number: u64,
    projects: HashMap<Uuid, HashMap<u64, Entry>>,
}

/// The agents that wait at this gateway; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct LongPollHub {
    table: Arc<Mutex<Table>>,
}

impl LongPollHub {
    /// Listens in the background until `stopping` is cancelled; the database need not be there yet.
    pub(crate) fn start(server: Server, stopping: CancellationToken) -> Self {
        let hub = Self::default();
        let listener = hub.clone();
        tokio::spawn(async move {
            let listening = listener::listen(server, "nebula_agent", |event| match event {
                listener::Event::Connected => listener.wake(|_, _| Some(Wake::Unknown)),
                listener::Event::Notification(payload) => listener.on_notification(payload),
                listener::Event::Disconnected => {}
            });
            stopping.run_until_cancelled(listening).await
        });
        hub
    }

    /// Subscribes an agent. Every configuration wakes it until [`Subscription::set_version`] says which one
    /// it runs.
    pub(crate) fn subscribe(&self, project: Uuid, device: Uuid) -> Subscription {
        let (wake, woken) = oneshot::channel();
        let mut table = self.lock();
        let number = table.next_number;
        table.next_number += 1;
        table.projects.entry(project).or_default().insert(number, Entry { device, version: 0, wake });
        Subscription { hub: self.clone(), project, number, woken }
    }

    /// How many agents wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().projects.values().map(HashMap::len).sum()
    }

    fn on_notification(&self, payload: &str) {
        match serde_json::from_str::<Change>(payload) {
            Ok(Change { project, device: Some(device), .. }) => {
                self.wake(|of, entry| (of == project && entry.device == device).then_some(Wake::Device));
            }
            Ok(Change { project, version, device: None }) => {
                self.wake(|of, entry| {
                    (of == project && entry.version < version).then_some(Wake::Configuration)
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a notification of channel nebula_agent cannot be read");
                self.wake(|_, _| Some(Wake::Unknown));
            }
        }
    }

    /// Removes and wakes the entries that `reason` has a reason for.
    fn wake(&self, reason: impl Fn(Uuid, &Entry) -> Option<Wake>) {
        let mut table = self.lock();
        for (project, entries) in &mut table.projects {
            for (_, entry) in entries.extract_if(|_, entry| reason(*project, entry).is_some()) {
                let why = reason(*project, &entry).unwrap_or(Wake::Unknown);
                // Sending fails if the agent went away meanwhile.
                let _ = entry.wake.send(why);
            }
        }
        table.projects.retain(|_, entries| !entries.is_empty());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: LongPollHub,
    project: Uuid,
    number: u64,
    woken: oneshot::Receiver<Wake>,
}

impl Subscription {
    /// Sets the configuration the agent runs: that one and older ones do not wake it.
    pub(crate) fn set_version(&self, version: i64) {
        let mut table = self.hub.lock();
        let entry = table.projects.get_mut(&self.project).and_then(|entries| entries.get_mut(&self.number));
        if let Some(entry) = entry {
            entry.version = version;
        }
    }

    pub(crate) async fn woken(&mut self) -> Wake {
        (&mut self.woken).await.unwrap_or(Wake::Unknown)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = self.hub.lock();
        if let Some(entries) = table.projects.get_mut(&self.project) {
            entries.remove(&self.number);
            if entries.is_empty() {
                table.projects.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn change(project: u128, version: i64, device: Option<u128>) -> String {
        let device = device.map(Uuid::from_u128);
        serde_json::json!({ "project": Uuid::from_u128(project), "version": version, "device": device })
            .to_string()
    }

    #[test]
    fn a_change_wakes_the_agents_it_concerns_and_no_others() {
        let hub = LongPollHub::default();
        let subscribe = |project, device, version| {
            let subscription = hub.subscribe(Uuid::from_u128(project), Uuid::from_u128(device));
            subscription.set_version(version);
            subscription
        };
        let mut all = [Some(subscribe(1, 11, 5)), Some(subscribe(1, 12, 6)), Some(subscribe(2, 21, 5))];
        let mut woken_by = |payload: String| {
            hub.on_notification(&payload);
            all.each_mut().map(|slot| {
                let woken = slot.as_mut().and_then(|subscription| subscription.woken().now_or_never());
                slot.take_if(|_| woken.is_some());
                woken
            })
        };
        assert_eq!(woken_by(change(3, 9, None)), [None; 3]);
        assert_eq!(woken_by(change(1, 6, None)), [Some(Wake::Configuration), None, None]);
        assert_eq!(woken_by(change(2, 0, Some(21))), [None, None, Some(Wake::Device)]);
        assert_eq!(woken_by("nonsense".into()), [None, Some(Wake::Unknown), None]);
        assert_eq!(hub.waiting(), 0);
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing() {
        let hub = LongPollHub::default();
        let subscription = hub.subscribe(Uuid::nil(), Uuid::nil());
        assert_eq!(hub.waiting(), 1);
        drop(subscription);
        assert_eq!(hub.waiting(), 0);
        assert!(hub.table.lock().unwrap().projects.is_empty());
    }
}
