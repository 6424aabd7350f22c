//! Live events for one account: those of the projects it sees, and all others for administrators.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Database;
use crate::database::event as database;
use crate::domain::auth::token::ACCESS_LIFETIME;
use crate::error::{ApiError, NOT_AUTHENTICATED, NOT_PERMITTED};
use crate::infra::event_hub::{EventHub, Notice};

/// Below the idle timeout of usual proxies.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The projects that the account sees are looked up again every so many pings.
const PINGS_PER_RECHECK: u32 = 2;

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
    async fn look_up(connections: &Database, account_id: Uuid) -> Result<Self, ApiError> {
        let client = connections.client().await?;
        let projects = database::visible_projects(&client, account_id).await?;
        let admin = match database::require_admin(&client, account_id).await {
            Ok(()) => true,
            Err(error) if error.meaning() == NOT_PERMITTED => false,
            Err(error) => return Err(error),
        };
        Ok(Self { projects, admin })
    }

    fn covers(&self, project: Option<Uuid>) -> bool {
        project.map_or(self.admin, |project| self.projects.contains(&project))
    }
}

/// One subscriber.
pub(crate) struct Watcher {
    database: Database,
    stopping: CancellationToken,
    account_id: Uuid,
    receiver: broadcast::Receiver<Arc<Notice>>,
    visible: Visibility,
    ping: Interval,
    pings: u32,
    /// Not later than the access token expires; a client that may still watch comes back with a fresh token.
    end: Instant,
}

impl Watcher {
    /// Fails with 401 for an account that is unknown or disabled.
    pub(crate) async fn subscribe(
        hub: &EventHub,
        database: Database,
        stopping: CancellationToken,
        account_id: Uuid,
    ) -> Result<Self, ApiError> {
        // Subscribed before the look-up, so that a change in between is not missed.
        let receiver = hub.subscribe();
        let visible = Visibility::look_up(&database, account_id).await?;
        let now = Instant::now();
        let mut ping = tokio::time::interval_at(now + PING_INTERVAL, PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = now + ACCESS_LIFETIME;
        Ok(Self { database, stopping, account_id, receiver, visible, ping, pings: 0, end })
    }

    /// The next frame; `None` ends the response.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.end) => return None,
                received = self.receiver.recv() => match received {
                    Ok(notice) => match &*notice {
                        Notice::Change { project, frame } if self.visible.covers(*project) => {
                            return Some(frame.clone());
                        }
                        Notice::Change { .. } => {}
                        Notice::Reset => return Some(RESET_FRAME),
                    },
                    Err(RecvError::Lagged(_)) => {
                        // The reset covers the rest of the backlog.
                        self.receiver = self.receiver.resubscribe();
                        return Some(RESET_FRAME);
                    }
                    Err(RecvError::Closed) => return None,
                },
                _ = self.ping.tick() => return self.on_ping().await,
            }
        }
    }

    /// A ping, or a reset if the account now sees other projects.
    async fn on_ping(&mut self) -> Option<Bytes> {
        self.pings += 1;
        if self.pings.is_multiple_of(PINGS_PER_RECHECK) {
            match Visibility::look_up(&self.database, self.account_id).await {
                Ok(visible) if visible != self.visible => {
                    self.visible = visible;
                    return Some(RESET_FRAME);
                }
                Err(error) if error.meaning() == NOT_AUTHENTICATED => return None,
                // While the database is away nothing changes; the listener sends a reset when it is back.
                Ok(_) | Err(_) => {}
            }
        }
        Some(PING_FRAME)
    }
}
