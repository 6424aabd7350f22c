//! Events: the record at `GET /api/events`, and live at `GET /api/stream` as server-sent events.
//!
//! The gateway LISTENs on one connection and hands what it hears to everyone who watches. A message says only that
//! something changed: watchers ask for it again, so a lost message costs freshness and never correctness. Whoever is
//! too slow, or was there while the database was away, is told `reset` and asks for everything again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures::stream;
use nebula_api::Envelope;
use nebula_api::event::{Change, Event};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use uuid::Uuid;

use crate::auth::{ACCESS_LIFETIME, Actor};
use crate::database::event as database;
use crate::error::{NOT_AUTHENTICATED, NOT_PERMITTED};
use crate::listener;
use crate::{ApiError, AppState};

/// Messages kept for a watcher that is busy; one further behind is told to ask again.
const BACKLOG: usize = 1024;
/// Time between signs of life, below the idle timeout of usual proxies.
const PING: Duration = Duration::from_secs(15);
/// Every so many pings the account's projects are looked up again.
const RECHECK: u32 = 2;

const PING_FRAME: Bytes = Bytes::from_static(b": ping\n\n");
const RESET_FRAME: Bytes = Bytes::from_static(b"event: reset\ndata: {}\n\n");

/// What was heard, ready to be sent to any number of watchers.
#[derive(Debug)]
enum Notice {
    /// Something changed in a project, or in none.
    Change { project: Option<Uuid>, frame: Bytes },
    /// Something may have been missed.
    Reset,
}

/// The live events of this gateway; clones share them.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Arc<Notice>>,
}

impl Events {
    /// Begins to listen, in the background and until `stopping` is cancelled; the database need not be there yet.
    pub fn start(config: tokio_postgres::Config, stopping: tokio_util::sync::CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let events = Self { sender };
        let ear = events.clone();
        tokio::spawn(async move {
            let listening = listener::listen(config, "nebula_event", |event| match event {
                // Whatever happened while nobody listened is unknown.
                listener::Event::Connected => ear.publish(Notice::Reset),
                listener::Event::Notification(payload) => ear.publish(notice(payload)),
                listener::Event::Disconnected => {}
            });
            stopping.run_until_cancelled(listening).await
        });
        events
    }

    /// Nobody watching is no error.
    fn publish(&self, notice: Notice) {
        let _ = self.sender.send(Arc::new(notice));
    }
}

/// Reads the payload of a notification; one that cannot be read is a change of unknown extent.
fn notice(payload: &str) -> Notice {
    let change: Change = match serde_json::from_str(payload) {
        Ok(change) => change,
        Err(error) => {
            tracing::warn!(%error, "a notification of channel nebula_event cannot be read");
            return Notice::Reset;
        }
    };
    // The database had more to tell than it keeps, and says only that much.
    if change.action == "reset" && change.id.is_empty() {
        return Notice::Reset;
    }
    // Written again rather than passed on, so that nothing in it can end the line.
    match serde_json::to_string(&change) {
        Ok(data) => Notice::Change {
            project: change.project,
            frame: format!("event: change\ndata: {data}\n\n").into(),
        },
        Err(_) => Notice::Reset,
    }
}

/// What an account may see now.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    projects: HashSet<Uuid>,
    /// Administrators also see what concerns no project.
    admin: bool,
}

impl Sight {
    async fn look_up(state: &AppState, account_id: Uuid) -> Result<Self, ApiError> {
        let client = state.database.client().await?;
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

/// One watcher.
struct Watcher {
    state: web::Data<AppState>,
    account_id: Uuid,
    receiver: broadcast::Receiver<Arc<Notice>>,
    sight: Sight,
    ping: Interval,
    pings: u32,
    /// No longer than an access token lives: whoever still may watch comes back with a fresh one.
    end: Instant,
}

impl Watcher {
    /// The next frame; `None` ends the answer.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                () = self.state.stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.end) => return None,
                heard = self.receiver.recv() => match heard {
                    Ok(notice) => match &*notice {
                        Notice::Change { project, frame } if self.sight.covers(*project) => return Some(frame.clone()),
                        Notice::Change { .. } => {}
                        Notice::Reset => return Some(RESET_FRAME),
                    },
                    Err(RecvError::Lagged(_)) => {
                        // What is left of the backlog is covered by the reset.
                        self.receiver = self.receiver.resubscribe();
                        return Some(RESET_FRAME);
                    }
                    Err(RecvError::Closed) => return None,
                },
                _ = self.ping.tick() => return self.on_ping().await,
            }
        }
    }

    /// A sign of life; now and then a look at what the account may see.
    async fn on_ping(&mut self) -> Option<Bytes> {
        self.pings += 1;
        if self.pings.is_multiple_of(RECHECK) {
            match Sight::look_up(&self.state, self.account_id).await {
                Ok(sight) if sight != self.sight => {
                    self.sight = sight;
                    return Some(RESET_FRAME);
                }
                Err(error) if error.meaning() == NOT_AUTHENTICATED => return None,
                // While the database is away there is nothing to tell; the listener sends a reset when it is back.
                Ok(_) | Err(_) => {}
            }
        }
        Some(PING_FRAME)
    }
}

/// Changes in the caller's projects as they happen: `event: change` with a change as JSON, `event: reset` when
/// everything is to be asked for again.
#[utoipa::path(get, path = "/api/stream", tag = "events",
    responses((status = 200, description = "Server-sent events", body = Change, content_type = "text/event-stream")))]
pub async fn watch(state: web::Data<AppState>, actor: Actor) -> Result<HttpResponse, ApiError> {
    // Subscribed before looking, so that nothing falls between.
    let receiver = state.events.sender.subscribe();
    let sight = Sight::look_up(&state, actor.account_id).await?;
    let now = Instant::now();
    let mut ping = tokio::time::interval_at(now + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let account_id = actor.account_id;
    let watcher = Watcher { state, account_id, receiver, sight, ping, pings: 0, end: now + ACCESS_LIFETIME };
    // The first frame tells the client at once that it is heard.
    let frames = stream::unfold((watcher, true), |(mut watcher, first)| async move {
        let frame = if first { PING_FRAME } else { watcher.next().await? };
        Some((Ok::<_, actix_web::Error>(frame), (watcher, false)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(frames))
}

/// Query of `GET /api/events`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListQuery {
    /// Only of this project.
    project_id: Option<Uuid>,
    /// Only events before this one, for paging.
    before: Option<i64>,
    /// At most so many, 1 to 1000; 100 when absent.
    max: Option<i32>,
}

/// What happened, newest first, in the projects the caller sees.
#[utoipa::path(get, path = "/api/events", tag = "events", params(ListQuery),
    responses((status = 200, description = "Events", body = Envelope<Vec<Event>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Envelope<Vec<Event>>>, ApiError> {
    let client = state.database.client().await?;
    let max = query.max.unwrap_or(100);
    let events = database::list(&client, actor.account_id, query.project_id, query.before, max).await?;
    Ok(web::Json(Envelope::new(events)))
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
            "event: change\ndata: {\"project\":null,\"subject\":\"file\",\"id\":\"a\\nb\",\"action\":\"upload\"}\n\n"
        );
        assert!(matches!(notice("transcode"), Notice::Reset));
        let overflow = r#"{"project":null,"subject":"job","id":"","action":"reset"}"#;
        assert!(matches!(notice(overflow), Notice::Reset));
    }
}
