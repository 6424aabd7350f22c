//! The background worker: what must happen even when nobody calls. Present when the extension is preloaded; otherwise
//! any scheduler may call the same functions.

use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::worker::{connect, is_there, reload_if_asked, run};
use crate::addresses::usage_threshold;
use crate::free_map::usage_signal::{self, UsageCounts};
use crate::pg::settings;

/// Least time between two looks at pools that fill up: who counts all the time would slow down who allocates.
const PAUSE: Duration = Duration::from_secs(1);

/// How often every pool is counted, asked or not: rows made by hand, and quarantines that end, are told by nobody.
const SWEEP: Duration = Duration::from_mins(1);

/// Time between two looks at the history of jobs, which reads all of it.
const PRUNE: Duration = Duration::from_mins(10);

/// What every round does: leases run out, and members that revocations and rotations wait for fall away.
const ROUND: [&str; 4] = [
    "nebula.reclaim_expired(integer)",
    "nebula.rescue_jobs()",
    "nebula.maintain_revocations()",
    "nebula.maintain_rotations()",
];

/// Where the worker starts. An error ends the process, and the launcher starts it again.
#[pg_guard]
#[expect(unsafe_code, reason = "the server looks the function up by name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn nebula_maintenance(_argument: pg_sys::Datum) {
    if connect().is_none() {
        return;
    }
    usage_signal::announce();
    // After a crash nothing is known of any pool; read now, no allocation has to wait for it.
    BackgroundWorker::transaction(|| run("nebula.warm_map(integer)"));
    let mut times = Times::at_once();
    while BackgroundWorker::wait_latch(Some(times.until_next())) {
        reload_if_asked();
        times.work();
    }
}

/// When the worker does what next.
struct Times {
    /// Leases and jobs are looked after.
    round: Instant,
    /// Every pool is counted.
    sweep: Instant,
    /// The history of jobs is pruned.
    prune: Instant,
    /// Pools that fill up are counted, if there are any.
    look: Instant,
    seen: UsageCounts,
    /// Whether a transaction was prepared at the last look: what it did is told by nobody when it commits.
    prepared: bool,
}

impl Times {
    fn at_once() -> Self {
        let now = Instant::now();
        Self { round: now, sweep: now, prune: now, look: now, seen: UsageCounts::default(), prepared: false }
    }

    /// How long there is nothing to do. A look that was due earlier waits for news, which come by latch.
    fn until_next(&self) -> Duration {
        let now = Instant::now();
        let next = if self.look > now { self.round.min(self.look) } else { self.round };
        next.saturating_duration_since(now)
    }

    fn work(&mut self) {
        let now = Instant::now();
        if now >= self.round {
            self.round = now + Duration::from_secs(settings::maintenance_interval());
            for function in ROUND {
                BackgroundWorker::transaction(|| run(function));
            }
            let prepared = BackgroundWorker::transaction(transactions_are_prepared);
            if prepared || self.prepared {
                self.sweep = now;
            }
            self.prepared = prepared;
        }
        if now >= self.prune {
            self.prune = now + PRUNE;
            BackgroundWorker::transaction(|| run("nebula.maintain_jobs()"));
        }
        if now < self.look {
            return;
        }
        // Asked before the rows are read: what happens meanwhile is news for the next look.
        let (up, down) = self.seen.changed();
        if now >= self.sweep {
            self.sweep = now + SWEEP;
            BackgroundWorker::transaction(|| run("nebula.maintain_pools()"));
        } else if !up.is_empty() || !down.is_empty() {
            BackgroundWorker::transaction(|| count(up, down));
        } else {
            return;
        }
        self.look = Instant::now() + PAUSE;
    }
}

fn count(up: Vec<i32>, down: Vec<i32>) {
    if is_there("nebula.raise_alarm(integer)")
        && let Err(error) = usage_threshold::count_all(up, down)
    {
        warning!("{error}");
    }
}

fn transactions_are_prepared() -> bool {
    let any = "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())";
    Spi::get_one::<bool>(any) == Ok(Some(true))
}
