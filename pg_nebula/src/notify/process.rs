//! The notifier process: sends the notifications that sessions have left in shared memory, and runs what is
//! due.

use std::time::{Duration, Instant};

use pgrx::Uuid;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use nebula_core::job_event::JobEvent;
use nebula_core::pending_jobs::NodeId;

use super::shared;
use super::timer_store::with_timers;
use super::timers::{MAX_INTERVAL, Which, is_due};
use crate::background::worker;
use crate::pg::background_worker::entry_point;
use crate::pg::session;

/// Least time between two rounds of notifications.
const ROUND_INTERVAL: Duration = Duration::from_millis(5);
/// Least time between two events that ask watchers to read the list of jobs again.
const RESET_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks whether prepared transactions have ended; their end sets no latch.
const PREPARED_INTERVAL: Duration = Duration::from_millis(20);
/// Longest sleep, in case a latch is missed.
const MAX_SLEEP: Duration = Duration::from_secs(60);

entry_point! {
    /// Main function of the process. An error ends it, and the launcher starts it again.
    nebula_notifier => work
}

fn work() {
    let Some(database) = worker::connect() else { return };
    shared::become_notifier(session::database());
    let mut sender = Sender::new();
    loop {
        // Check all sources of work before sleeping: work recorded after its check sets the latch, so the wait
        // returns at once.
        run_due_functions();
        let prepared = shared::with(|state| state.resolve_prepared(session::is_running, session::clock()));
        let mut sleep = sender.round().min(until_next_timer());
        if prepared == Some(true) {
            sleep = sleep.min(PREPARED_INTERVAL);
        }
        if !BackgroundWorker::wait_latch(Some(sleep)) {
            break;
        }
        worker::reload_if_asked();
    }
    log!("pg_nebula no longer sends notifications in database \"{database}\"");
}

/// Timers that this process watches, and the functions that do what is due.
const TIMERS: [(Which, &str); 2] = [
    (|timers| &mut timers.job, "nebula.release_due_jobs()"),
    (|timers| &mut timers.schedule, "nebula.run_schedules()"),
];

fn run_due_functions() {
    for (which, function) in TIMERS {
        if !is_due(which) {
            continue;
        }
        BackgroundWorker::transaction(|| worker::run(function));
        // The functions set the timer again. In a database without the extension there are none, so the timer
        // is set here.
        let now = session::clock();
        with_timers(|timers| {
            if which(timers).is_due(now) {
                which(timers).reschedule(None, now, MAX_INTERVAL);
            }
        });
    }
}

fn until_next_timer() -> Duration {
    let now = session::clock();
    let next = with_timers(|timers| timers.job.at().min(timers.schedule.at()));
    let wait = Duration::from_micros(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
    // The server rounds the wait down to milliseconds; one more, so that the timer is due when it ends.
    wait.min(MAX_SLEEP) + Duration::from_millis(1)
}

/// Sends notifications, at most one round in [`ROUND_INTERVAL`].
struct Sender {
    next_round: Instant,
    next_reset: Instant,
    /// Events were lost, so watchers must read the list of jobs again.
    reset_pending: bool,
}

impl Sender {
    fn new() -> Self {
        Self { next_round: Instant::now(), next_reset: Instant::now(), reset_pending: false }
    }

    /// Sends what has been left in shared memory, if it is time; returns how long to sleep unless the latch
    /// is set.
    fn round(&mut self) -> Duration {
        let now = Instant::now();
        if now < self.next_round {
            return self.next_round - now + Duration::from_millis(1);
        }
        let mut pending =
            shared::with(|state| state.take_notifications(session::database())).unwrap_or_default();
        if pending.overflowed {
            // The reset covers the other events too.
            pending.events.clear();
            self.reset_pending = true;
        }
        let reset = self.reset_pending && now >= self.next_reset;
        if pending.is_empty() && !reset {
            return if self.reset_pending { self.next_reset - now } else { MAX_SLEEP };
        }
        if reset {
            self.reset_pending = false;
            self.next_reset = now + RESET_INTERVAL;
        }
        let reset = reset.then(|| RESET_EVENT.to_owned());
        let events: Vec<String> = pending.events.iter().map(event_text).chain(reset).collect();
        BackgroundWorker::transaction(|| {
            notify(pending.kinds.clone(), events);
            if !pending.nodes.is_empty() || pending.all_nodes {
                notify_nodes((!pending.all_nodes).then_some(&pending.nodes));
            }
        });
        self.next_round = now + ROUND_INTERVAL;
        if self.reset_pending { ROUND_INTERVAL.max(self.next_reset - now) } else { MAX_SLEEP }
    }
}

/// Asks watchers to read the list of jobs again.
const RESET_EVENT: &str = r#"{"project":null,"subject":"job","id":"","action":"reset"}"#;

/// An event as nebula.notify_event writes it, which is not called because PL/pgSQL costs several times what
/// NOTIFY does.
fn event_text(event: &JobEvent) -> String {
    let project =
        event.project.map_or_else(|| "null".to_owned(), |id| format!("\"{}\"", Uuid::from_bytes(id)));
    format!(
        r#"{{"project":{project},"subject":"job","id":"{}","action":"{}"}}"#,
        event.job,
        event.action.as_str()
    )
}

/// Notifies the agents of these nodes, `None`: of all nodes.
fn notify_nodes(nodes: Option<&Vec<NodeId>>) {
    let nodes: Option<Vec<Uuid>> =
        nodes.map(|nodes| nodes.iter().map(|node| Uuid::from_bytes(*node)).collect());
    if worker::is_callable("nebula.announce_nodes(uuid[])")
        && let Err(error) = Spi::run_with_args("SELECT nebula.announce_nodes($1)", &[nodes.into()])
    {
        warning!("notifications of nodes could not be sent: {error}");
    }
}

/// Notifies workers of these kinds and watchers of these events.
fn notify(kinds: Vec<String>, events: Vec<String>) {
    let sent = Spi::run_with_args(
        "SELECT pg_catalog.pg_notify('nebula_job', kind) FROM pg_catalog.unnest($1) AS k(kind)
         UNION ALL SELECT pg_catalog.pg_notify('nebula_event', event) FROM pg_catalog.unnest($2) AS e(event)",
        &[kinds.into(), events.into()],
    );
    if let Err(error) = sent {
        warning!("notifications of jobs could not be sent: {error}");
    }
}
