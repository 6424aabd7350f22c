//! Live events for one account: those of the projects it sees, and all others for administrators.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::event as database;
use crate::database::proof::ACCESS_LIFETIME;
use crate::database::{Account, Database};
use crate::error::{ApiError, NOT_AUTHENTICATED, RATE_LIMITED};
use crate::infra::access_hub::AccessHub;
use crate::infra::event_hub::{EventHub, Notice};
use crate::infra::quota::{Permit, Quota};

/// Pause after a look that a message asked for: every role that may connect to the database can send one.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Below the idle timeout of usual proxies.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The projects that the account sees are looked up again every so many pings.
const PINGS_PER_RECHECK: u32 = 2;

/// Streams of one account at the same time: each open page of the console has one.
const MAX_STREAMS: usize = 32;

/// The first frame; it tells the client at once that it is connected.
pub(crate) const PING_FRAME: Bytes = Bytes::from_static(b": ping\n\n");
const RESET_FRAME: Bytes = Bytes::from_static(b"event: reset\ndata: {}\n\n");

#[derive(Debug, PartialEq, Eq)]
struct Visibility {
    projects: HashSet<Uuid>,
    /// Administrators also see events that belong to no project.
    admin: bool,
}

impl Visibility {
    async fn look_up(connections: &Database, account: &Account) -> Result<Self, ApiError> {
        let client = connections.client().await?;
        let projects = database::visible_projects(&client, account).await?;
        // Asked for, not demanded: the server logs every demand that it refuses.
        let role = database::account_role(&client, account).await?;
        let role = role.ok_or_else(|| {
            ApiError::new(NOT_AUTHENTICATED, "this account is unknown or disabled").hint("Sign in again.")
        })?;
        Ok(Self { projects, admin: role == "admin" })
    }

    fn covers(&self, project: Option<Uuid>) -> bool {
        project.map_or(self.admin, |project| self.projects.contains(&project))
    }
}

/// Result of another look at the rights of an account.
enum Look {
    Ended,
    /// It sees other projects, or is an administrator or none now.
    Changed,
    Same,
}

/// Live events for all accounts.
#[derive(Debug)]
pub(crate) struct LiveEvents {
    hub: EventHub,
    access: AccessHub,
    database: Database,
    stopping: CancellationToken,
    streams: Quota<Uuid>,
}

/// One subscriber.
pub(crate) struct Watcher {
    _permit: Permit<Uuid>,
    database: Database,
    stopping: CancellationToken,
    account: Account,
    receiver: broadcast::Receiver<Arc<Notice>>,
    /// Change when a right may have ended.
    access: watch::Receiver<u64>,
    visible: Visibility,
    ping: Interval,
    pings: u32,
    /// Not later than the access token expires; a client that may still watch comes back with a fresh token.
    end: Instant,
}

impl LiveEvents {
    pub(crate) fn new(
        hub: EventHub,
        access: AccessHub,
        database: Database,
        stopping: CancellationToken,
    ) -> Self {
        Self { hub, access, database, stopping, streams: Quota::new(MAX_STREAMS) }
    }

    /// Fails with 401 for an account that is unknown or disabled, 429 for one that has too many streams open.
    pub(crate) async fn subscribe(&self, account: Account) -> Result<Watcher, ApiError> {
        let permit = self.streams.take(account.id).ok_or_else(|| {
            let detail = format!("this account has {} event streams open", self.streams.max());
            ApiError::new(RATE_LIMITED, detail).hint("Close some, or let one stream serve several readers.")
        })?;
        // Subscribed before the look-up, so that a change in between is not missed.
        let (receiver, access) = (self.hub.subscribe(), self.access.changes());
        let visible = Visibility::look_up(&self.database, &account).await?;
        let now = Instant::now();
        let mut ping = tokio::time::interval_at(now + PING_INTERVAL, PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Watcher {
            _permit: permit,
            database: self.database.clone(),
            stopping: self.stopping.clone(),
            account,
            receiver,
            access,
            visible,
            ping,
            pings: 0,
            end: now + ACCESS_LIFETIME,
        })
    }
}

/// A message to a subscriber.
pub(crate) enum Step {
    /// A change, ready to be sent, and the recorded event if it is one.
    Change(Bytes, Option<i64>),
    /// Something may have been missed.
    Reset,
    /// Nothing happened for a while.
    Ping,
}

impl Watcher {
    /// The next frame; `None` ends the response.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        Some(match self.step().await? {
            Step::Change(frame, _) => frame,
            Step::Reset => RESET_FRAME,
            Step::Ping => PING_FRAME,
        })
    }

    /// The next step; `None` ends the response.
    pub(crate) async fn step(&mut self) -> Option<Step> {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.end) => return None,
                received = self.receiver.recv() => match received {
                    Ok(notice) => match &*notice {
                        Notice::Change { project, event, frame } if self.visible.covers(*project) => {
                            return Some(Step::Change(frame.clone(), *event));
                        }
                        Notice::Change { .. } => {}
                        Notice::Reset => return Some(Step::Reset),
                    },
                    Err(RecvError::Lagged(_)) => {
                        // The reset covers the rest of the backlog.
                        self.receiver = self.receiver.resubscribe();
                        return Some(Step::Reset);
                    }
                    Err(RecvError::Closed) => return None,
                },
                Ok(()) = self.access.changed() => match self.look_again().await {
                    Look::Ended => return None,
                    Look::Changed => return Some(Step::Reset),
                    Look::Same => sleep(LOOK_PAUSE).await,
                },
                _ = self.ping.tick() => return self.on_ping().await,
            }
        }
    }

    /// A ping, or a reset if the account now sees other projects.
    async fn on_ping(&mut self) -> Option<Step> {
        self.pings += 1;
        if self.pings.is_multiple_of(PINGS_PER_RECHECK) {
            match self.look_again().await {
                Look::Ended => return None,
                Look::Changed => return Some(Step::Reset),
                Look::Same => {}
            }
        }
        Some(Step::Ping)
    }

    /// Looks up what the account sees now.
    async fn look_again(&mut self) -> Look {
        match Visibility::look_up(&self.database, &self.account).await {
            Ok(visible) if visible != self.visible => {
                self.visible = visible;
                Look::Changed
            }
            Err(error) if error.meaning() == NOT_AUTHENTICATED => Look::Ended,
            // While the database is away nothing changes; the listener sends a reset when it is back.
            Ok(_) | Err(_) => Look::Same,
        }
    }
}
