//! Agents that wait for news of their project.
//!
//! The gateway LISTENs on one connection. Whoever waits is an entry in a table: what it runs, and how to wake it. A
//! message says only that something changed; the agent then asks, so a lost message costs freshness and never
//! correctness.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::listener;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
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
    wake: oneshot::Sender<News>,
}

/// Entries by project and the order of their coming.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    projects: HashMap<Uuid, HashMap<u64, Entry>>,
}

/// The agents that wait at this gateway; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    table: Arc<Mutex<Table>>,
}

impl Agents {
    /// Begins to listen, in the background and until `stopping` is cancelled; the database need not be there yet.
    pub fn start(config: tokio_postgres::Config, stopping: tokio_util::sync::CancellationToken) -> Self {
        let agents = Self::default();
        let ear = agents.clone();
        tokio::spawn(async move {
            let listening = listener::listen(config, "nebula_agent", |event| match event {
                listener::Event::Connected => ear.wake(|_, _| Some(News::Unknown)),
                listener::Event::Notification(payload) => ear.hear(payload),
                listener::Event::Disconnected => {}
            });
            stopping.run_until_cancelled(listening).await
        });
        agents
    }

    /// Enters an agent, which is told of everything until [`Ticket::runs`] says what it has already.
    pub fn enter(&self, project: Uuid, device: Uuid) -> Ticket {
        let (wake, news) = oneshot::channel();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        table.projects.entry(project).or_default().insert(number, Entry { device, version: 0, wake });
        Ticket { agents: self.clone(), project, number, news }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.projects.values().map(HashMap::len).sum()
    }

    fn hear(&self, payload: &str) {
        match serde_json::from_str::<Change>(payload) {
            Ok(Change { project, device: Some(device), .. }) => {
                self.wake(|at, entry| (at == project && entry.device == device).then_some(News::Device));
            }
            Ok(Change { project, version, device: None }) => {
                self.wake(|at, entry| {
                    (at == project && entry.version < version).then_some(News::Configuration)
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a notification of channel nebula_agent cannot be read");
                self.wake(|_, _| Some(News::Unknown));
            }
        }
    }

    fn wake(&self, news: impl Fn(Uuid, &Entry) -> Option<News>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for (project, entries) in &mut table.projects {
            for (_, entry) in entries.extract_if(|_, entry| news(*project, entry).is_some()) {
                let told = news(*project, &entry).unwrap_or(News::Unknown);
                // One that went away meanwhile needs no news.
                let _ = entry.wake.send(told);
            }
        }
        table.projects.retain(|_, entries| !entries.is_empty());
    }
}

/// A place among those who wait; dropped, it is given up.
#[derive(Debug)]
pub struct Ticket {
    agents: Agents,
    project: Uuid,
    number: u64,
    news: oneshot::Receiver<News>,
}

impl Ticket {
    /// Says what the agent has already: configurations up to this one are no news.
    pub fn runs(&self, version: i64) {
        let mut table = self.agents.table.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = table.projects.get_mut(&self.project).and_then(|entries| entries.get_mut(&self.number));
        if let Some(entry) = entry {
            entry.version = version;
        }
    }

    /// Waits for news.
    pub async fn news(&mut self) -> News {
        (&mut self.news).await.unwrap_or(News::Unknown)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.agents.table.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn everyone_is_told_what_concerns_them() {
        let agents = Agents::default();
        let enter = |project, device, version| {
            let ticket = agents.enter(Uuid::from_u128(project), Uuid::from_u128(device));
            ticket.runs(version);
            ticket
        };
        let mut all = [Some(enter(1, 11, 5)), Some(enter(1, 12, 6)), Some(enter(2, 21, 5))];
        let mut told = |payload: String| {
            agents.hear(&payload);
            all.each_mut().map(|place| {
                let news = place.as_mut().and_then(|ticket| ticket.news().now_or_never());
                place.take_if(|_| news.is_some());
                news
            })
        };
        assert_eq!(told(change(3, 9, None)), [None; 3]);
        assert_eq!(told(change(1, 6, None)), [Some(News::Configuration), None, None]);
        assert_eq!(told(change(2, 0, Some(21))), [None, None, Some(News::Device)]);
        assert_eq!(told("nonsense".into()), [None, Some(News::Unknown), None]);
        assert_eq!(agents.waiting(), 0);
    }

    #[test]
    fn who_goes_away_leaves_nothing() {
        let agents = Agents::default();
        let ticket = agents.enter(Uuid::nil(), Uuid::nil());
        assert_eq!(agents.waiting(), 1);
        drop(ticket);
        assert_eq!(agents.waiting(), 0);
        assert!(agents.table.lock().unwrap().projects.is_empty());
    }
}
