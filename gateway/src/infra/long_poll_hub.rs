//! Long polls of agents, woken by notifications about their project.
//!
//! The gateway LISTENs on one connection. A subscription is an entry in a table: which configuration the
//! agent runs, and a channel that wakes it. A message says only that something may have changed: every role that
//! may connect to the database can send one. The version of a configuration is looked up, and an agent that is
//! woken asks, so a lost message costs freshness and never correctness.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join};
use nebula_connect::Server;
use serde::Deserialize;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::listener;
use crate::error::ApiError;

/// Pause between two questions to the database, and after one that it did not answer.
const INTERVAL: Duration = Duration::from_millis(20);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

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
struct Hint {
    project: Uuid,
    device: Option<Uuid>,
}

/// Asks the database for the versions of the configurations of projects.
pub(crate) type Versions =
    dyn Fn(Vec<Uuid>) -> BoxFuture<'static, Result<HashMap<Uuid, i64>, ApiError>> + Send + Sync;

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
    /// Projects with waiting agents whose configuration may have changed, and such devices.
    changed_projects: HashSet<Uuid>,
    changed_devices: HashSet<Uuid>,
}

/// The agents that wait at this gateway; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct LongPollHub {
    table: Arc<Mutex<Table>>,
    changed: Arc<Notify>,
}

impl LongPollHub {
    /// Listens in the background until `stopping` is cancelled; the database need not be there yet.
    pub(crate) fn start(server: Server, versions: Box<Versions>, stopping: CancellationToken) -> Self {
        let hub = Self::default();
        let (listener, waker) = (hub.clone(), hub.clone());
        tokio::spawn(async move {
            let listening = listener::listen(server, "nebula_agent", |event| match event {
                listener::Event::Connected => listener.wake(|_, _| Some(Wake::Unknown)),
                listener::Event::Notification(payload) => listener.hear(payload),
                listener::Event::Disconnected => {}
            });
            let waking = waker.wake_changed(&*versions);
            stopping.run_until_cancelled(join(listening, waking)).await
        });
        hub
    }

    /// Subscribes an agent. Every hint wakes it, so that it asks, until [`Subscription::set_version`] says which
    /// configuration it runs.
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

    /// Keeps a hint about agents that wait here. One that cannot be read is of somebody else.
    fn hear(&self, payload: &str) {
        let Ok(Hint { project, device }) = serde_json::from_str(payload) else { return };
        let mut guard = self.lock();
        let table = &mut *guard;
        let Some(entries) = table.projects.get(&project) else { return };
        match device {
            None => drop(table.changed_projects.insert(project)),
            Some(device) if entries.values().any(|entry| entry.device == device) => {
                table.changed_devices.insert(device);
            }
            Some(_) => return,
        }
        drop(guard);
        self.changed.notify_one();
    }

    /// Wakes the agents that hints are about, for as long as the future is polled.
    async fn wake_changed(&self, versions: &Versions) {
        loop {
            self.changed.notified().await;
            if self.wake_known(versions).await.is_ok() {
                sleep(INTERVAL).await;
            } else {
                sleep(RETRY_INTERVAL).await;
                self.changed.notify_one();
            }
        }
    }

    /// Wakes the agents that hints so far are about; keeps those that could not be looked up.
    async fn wake_known(&self, versions: &Versions) -> Result<(), ApiError> {
        let (projects, devices) = {
            let mut table = self.lock();
            (mem::take(&mut table.changed_projects), mem::take(&mut table.changed_devices))
        };
        if !devices.is_empty() {
            self.wake(|_, entry| devices.contains(&entry.device).then_some(Wake::Device));
        }
        if projects.is_empty() {
            return Ok(());
        }
        let newest = versions(projects.iter().copied().collect()).await;
        let newest = newest.inspect_err(|_| self.lock().changed_projects.extend(&projects))?;
        self.wake(|project, entry| match newest.get(&project) {
            // It is just asking for its own version, and must not answer before it knows.
            Some(_) if entry.version == 0 => Some(Wake::Device),
            Some(newest) if entry.version < *newest => Some(Wake::Configuration),
            _ => None,
        });
        Ok(())
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
    use futures::future::ready;

    use super::*;

    fn change(project: u128, version: i64, device: Option<u128>) -> String {
        let device = device.map(Uuid::from_u128);
        serde_json::json!({ "project": Uuid::from_u128(project), "version": version, "device": device })
            .to_string()
    }

    #[tokio::test]
    async fn a_change_wakes_the_agents_it_concerns_and_no_others_whatever_version_it_claims() {
        let hub = LongPollHub::default();
        let subscribe = |project, device, version| {
            let subscription = hub.subscribe(Uuid::from_u128(project), Uuid::from_u128(device));
            subscription.set_version(version);
            subscription
        };
        let mut all = [Some(subscribe(1, 11, 5)), Some(subscribe(1, 12, 6)), Some(subscribe(2, 21, 5))];
        // The first project has version 6, all others have 5.
        let versions = |projects: Vec<Uuid>| {
            let version = |id: Uuid| (id, if id == Uuid::from_u128(1) { 6 } else { 5 });
            ready(Ok(projects.into_iter().map(version).collect())).boxed()
        };
        let mut woken_by = async |payload: String| {
            hub.hear(&payload);
            hub.wake_known(&versions).await.unwrap();
            all.each_mut().map(|slot| {
                let woken = slot.as_mut().and_then(|subscription| subscription.woken().now_or_never());
                slot.take_if(|_| woken.is_some());
                woken
            })
        };
        assert_eq!(woken_by(change(3, 9, None)).await, [None; 3]);
        assert_eq!(woken_by(change(2, 1_000_000, None)).await, [None; 3]);
        assert_eq!(woken_by("nonsense".into()).await, [None; 3]);
        assert_eq!(woken_by(change(1, 0, None)).await, [Some(Wake::Configuration), None, None]);
        assert_eq!(woken_by(change(2, 0, Some(12))).await, [None; 3]);
        assert_eq!(woken_by(change(2, 0, Some(21))).await, [None, None, Some(Wake::Device)]);
        assert_eq!(hub.waiting(), 1);
    }

    #[tokio::test]
    async fn a_version_that_could_not_be_looked_up_is_looked_up_again() {
        let hub = LongPollHub::default();
        let mut subscription = hub.subscribe(Uuid::nil(), Uuid::nil());
        hub.hear(&change(0, 1, None));
        let away = |_: Vec<Uuid>| ready(Err(ApiError::bad_argument("away"))).boxed();
        assert!(hub.wake_known(&away).await.is_err());
        assert_eq!(subscription.woken().now_or_never(), None);
        let back = |_: Vec<Uuid>| ready(Ok(HashMap::from([(Uuid::nil(), 1)]))).boxed();
        hub.wake_known(&back).await.unwrap();
        assert_eq!(subscription.woken().await, Wake::Device, "which version it runs is not known yet");
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
