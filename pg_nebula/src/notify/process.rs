//! The process that turns marks into NOTIFY, and time into jobs.

use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use nebula_core::job_event::JobEvent;

use super::shared;
use super::timer_store::with_timers;
use super::timers::{LOOK_INTERVAL, Which, is_due};
use crate::background::worker;
use crate::pg::background_worker::entry_point;
use crate::pg::session;

/// Least time between two rounds of notifications.
const WINDOW: Duration = Duration::from_millis(5);
/// Least time between two calls on watchers to look for themselves.
const RESET: Duration = Duration::from_secs(1);
/// Time between two looks at transactions that are prepared.
const PREPARED: Duration = Duration::from_millis(20);
/// Longest sleep.
const LONGEST: Duration = Duration::from_secs(60);

entry_point! {
    /// Main function of the process. An error ends it, and the launcher starts it again.
    nebula_wakeup => work
}

fn work() {
    let Some(database) = worker::connect() else { return };
    shared::become_notifier(session::database());
    let mut send = Sender::new();
    loop {
        // Look, then sleep: what is marked from here on rings the bell.
        for (which, function) in TIMERS {
            if is_due(which) {
                BackgroundWorker::transaction(|| worker::run(function));
                // Without the extension nobody has looked.
                let now = session::clock();
                with_timers(|timers| {
                    if which(timers).is_due(now) {
                        which(timers).reschedule(None, now, LOOK_INTERVAL);
                    }
                });
            }
        }
        let prepared = shared::with(|state| state.resolve_prepared(session::is_running, session::clock()));
        let mut sleep = send.round().min(until_next_timer());
        if prepared == Some(true) {
            sleep = sleep.min(PREPARED);
        }
        if !BackgroundWorker::wait_latch(Some(sleep)) {
            break;
        }
        worker::reload_if_asked();
    }
    log!("pg_nebula no longer wakes workers of database \"{database}\"");
}

/// What only time brings, and who sees to it.
const TIMERS: [(Which, &str); 2] = [
    (|timers| &mut timers.job, "nebula.release_due_jobs()"),
    (|timers| &mut timers.schedule, "nebula.run_schedules()"),
];

fn until_next_timer() -> Duration {
    let now = session::clock();
    let next = with_timers(|timers| timers.job.at().min(timers.schedule.at()));
    // One more, because the server waits in whole milliseconds.
    let wait = Duration::from_micros(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
    (wait.min(LONGEST)) + Duration::from_millis(1)
}

/// Keeps the pace.
struct Sender {
    next: Instant,
    next_reset: Instant,
    /// Watchers are to be told that there was more.
    reset: bool,
}

impl Sender {
    fn new() -> Self {
        Self { next: Instant::now(), next_reset: Instant::now(), reset: false }
    }

    /// Sends what there is, or not yet; answers how long to sleep if nothing else comes.
    fn round(&mut self) -> Duration {
        let now = Instant::now();
        if now < self.next {
            return self.next - now + Duration::from_millis(1);
        }
        let mut mail =
            shared::with(|state| state.take_notifications(session::database())).unwrap_or_default();
        if mail.overflowed {
            // The call to look covers these too.
            mail.events.clear();
            self.reset = true;
        }
        let reset = self.reset && now >= self.next_reset;
        if mail.is_empty() && !reset {
            return if self.reset { self.next_reset - now } else { LONGEST };
        }
        if reset {
            self.reset = false;
            self.next_reset = now + RESET;
        }
        let texts = mail.events.iter().map(text).chain(reset.then(|| RESET_TEXT.to_owned())).collect();
        BackgroundWorker::transaction(|| notify(mail.kinds.clone(), texts));
        self.next = now + WINDOW;
        if self.reset { WINDOW.max(self.next_reset - now) } else { LONGEST }
    }
}

/// Tells watchers that something happened which is not said one by one.
const RESET_TEXT: &str = r#"{"project":null,"subject":"job","id":"","action":"reset"}"#;

/// As nebula.notify_event writes it.
fn text(event: &JobEvent) -> String {
    let project =
        event.project.map_or_else(|| "null".to_owned(), |id| format!("\"{}\"", pgrx::Uuid::from_bytes(id)));
    format!(
        r#"{{"project":{project},"subject":"job","id":"{}","action":"{}"}}"#,
        event.job,
        event.action.as_str()
    )
}

fn notify(kinds: Vec<String>, events: Vec<String>) {
    let sent = Spi::run_with_args(
        "SELECT pg_notify('nebula_job', kind) FROM unnest($1) AS k(kind)
         UNION ALL SELECT pg_notify('nebula_event', event) FROM unnest($2) AS e(event)",
        &[kinds.into(), events.into()],
    );
    if let Err(error) = sent {
        warning!("workers could not be woken: {error}");
    }
}
