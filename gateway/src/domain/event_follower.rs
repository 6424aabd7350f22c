//! Following the record of events: each recorded event that an account sees, once, as it is committed.
//!
//! Identifiers are given before a transaction commits, so an event may appear after one with a greater identifier.
//! Therefore the events are those that the database has told of, and only after something may have been missed they
//! are read in order, with a margin for transactions that were still open then.

use std::collections::VecDeque;

use bytes::Bytes;
use nebula_api::event::Event;

use super::live_events::{PING_FRAME, Step, Watcher};
use crate::database::event::{self, Filter, MAX_EVENTS, Part};
use crate::database::{Account, Database};
use crate::error::{ApiError, NOT_AUTHENTICATED};

/// Identifiers that are remembered: so far back events are read again.
const MARGIN: usize = 1000;

/// A client that follows the record.
pub(crate) struct Follower {
    watcher: Watcher,
    database: Database,
    account: Account,
    filter: Filter,
    sent: Sent,
    /// Something may have been missed, or could not be read.
    behind: bool,
}

/// The events that the client has.
#[derive(Debug)]
struct Sent {
    /// The greatest identifier.
    last: i64,
    recent: VecDeque<i64>,
}

impl Sent {
    /// Where to begin to read: all up to the first event has been sent, or was before the client came.
    fn start(&self) -> i64 {
        self.recent.iter().copied().min().map_or(self.last, |oldest| oldest - 1)
    }

    /// Whether the client gets this event now.
    fn add(&mut self, event: i64) -> bool {
        if self.recent.contains(&event) {
            return false;
        }
        if self.recent.len() >= MARGIN {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
        self.last = self.last.max(event);
        true
    }
}

impl Follower {
    /// Follows the events after this one; without it, those from now on.
    pub(crate) async fn start(
        watcher: Watcher,
        database: Database,
        account: Account,
        filter: Filter,
        after: Option<i64>,
    ) -> Result<Self, ApiError> {
        let last = match after {
            Some(after) => after,
            None => {
                let client = database.client().await?;
                let newest =
                    event::list(&client, &account, &Filter::default(), Part::Newest(None), 1).await?;
                newest.first().map_or(0, |event| event.event_id)
            }
        };
        let sent = Sent { last, recent: VecDeque::new() };
        // Reads first the events between the look and the subscription.
        Ok(Self { watcher, database, account, filter, sent, behind: true })
    }

    /// The next frames; `None` ends the response.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let read = if self.behind {
                self.read(Part::After(self.sent.start())).await
            } else {
                match self.watcher.step().await? {
                    Step::Change(_, Some(id)) => self.read(Part::Only(&[id])).await,
                    Step::Change(_, None) => continue,
                    Step::Reset => {
                        self.behind = true;
                        continue;
                    }
                    Step::Ping => return Some(PING_FRAME),
                }
            };
            match read {
                Ok(frames) if frames.is_empty() => {}
                Ok(frames) => return Some(frames),
                Err(error) if error.meaning() == NOT_AUTHENTICATED => return None,
                // Read again once the database has told something, or was there again.
                Err(_) => {
                    self.behind = true;
                    if matches!(self.watcher.step().await?, Step::Ping) {
                        return Some(PING_FRAME);
                    }
                }
            }
        }
    }

    /// Frames of the events of this part that the client does not have.
    async fn read(&mut self, part: Part<'_>) -> Result<Bytes, ApiError> {
        let client = self.database.client().await?;
        let mut events = event::list(&client, &self.account, &self.filter, part, MAX_EVENTS).await?;
        let is_full = i32::try_from(events.len()).is_ok_and(|count| count == MAX_EVENTS);
        self.behind = is_full && matches!(part, Part::After(_));
        if self.behind {
            // More follow: the next page begins after this one, whatever is remembered.
            self.sent.recent.clear();
            self.sent.last = events.last().map_or(self.sent.last, |event| event.event_id);
        } else {
            events.retain(|event| self.sent.add(event.event_id));
        }
        Ok(events.iter().filter_map(frame).collect::<Vec<_>>().concat().into())
    }
}

/// The frame of an event; its identifier is what a client that comes back names.
fn frame(event: &Event) -> Option<Vec<u8>> {
    let data = serde_json::to_string(event).ok()?;
    Some(format!("id: {}\nevent: event\ndata: {data}\n\n", event.event_id).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_sent_once_in_the_order_of_commits() {
        let mut sent = Sent { last: 10, recent: VecDeque::new() };
        assert_eq!(sent.start(), 10);
        assert!(sent.add(13));
        assert!(sent.add(11), "an event of a transaction that was open longer");
        assert!(!sent.add(13), "told twice");
        assert_eq!((sent.start(), sent.last), (10, 13));
        for event in 20..20 + MARGIN as i64 {
            assert!(sent.add(event));
        }
        assert_eq!(sent.recent.len(), MARGIN);
        assert_eq!(sent.start(), 19);
    }
}
