//! The background worker: what must happen even when nobody calls. Present when the extension is preloaded; otherwise
//! any scheduler may call the same functions.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::prelude::*;

use crate::alarm;
use crate::map::{self, Seen};
use crate::settings;

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
    map::announce();
    // After a crash nothing is known of any pool; read now, no allocation has to wait for it.
    BackgroundWorker::transaction(|| run("nebula.warm_map(integer)"));
    let mut times = Times::at_once();
    while BackgroundWorker::wait_latch(Some(times.until_next())) {
        heed_reload();
        times.work();
    }
}

/// Makes this process a session of the database that is looked after; answers its name, `None` if there is none.
pub(crate) fn connect() -> Option<String> {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let database = settings::database()?;
    BackgroundWorker::connect_worker_to_spi(Some(&database), None);
    // Nobody waits for what is done here, and what a crash loses is done again.
    BackgroundWorker::transaction(|| {
        if let Err(error) = Spi::run("SET synchronous_commit = off") {
            warning!("synchronous_commit stays on: {error}");
        }
    });
    Some(database)
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
    seen: Seen,
    /// Whether a transaction was prepared at the last look: what it did is told by nobody when it commits.
    prepared: bool,
}

impl Times {
    fn at_once() -> Self {
        let now = Instant::now();
        Self { round: now, sweep: now, prune: now, look: now, seen: Seen::default(), prepared: false }
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
        let (up, down) = self.seen.news();
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

/// Calls a function if it is there.
pub(crate) fn run(function: &str) {
    let name = function.split('(').next().unwrap_or(function);
    if is_there(function)
        && let Err(error) = Spi::run(&format!("SELECT {name}()"))
    {
        warning!("{name} failed: {error}");
    }
}

fn count(up: Vec<i32>, down: Vec<i32>) {
    if is_there("nebula.raise_alarm(integer)")
        && let Err(error) = alarm::count_all(up, down)
    {
        warning!("{error}");
    }
}

/// Whether a function can be called: the extension may not be there, or not yet, and an older one has fewer functions.
fn is_there(function: &str) -> bool {
    // Only on a primary: a standby cannot write, and takes over the work when it is promoted.
    let possible = format!("SELECT to_regprocedure('{function}') IS NOT NULL AND NOT pg_is_in_recovery()");
    Spi::get_one::<bool>(&possible) == Ok(Some(true))
}

fn transactions_are_prepared() -> bool {
    let any = "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())";
    Spi::get_one::<bool>(any) == Ok(Some(true))
}

/// Reads the configuration again if somebody asked for it.
#[expect(unsafe_code, reason = "a C function without arguments to get wrong")]
pub(crate) fn heed_reload() {
    if BackgroundWorker::sighup_received() {
        // SAFETY: in the main loop of a background worker, outside any transaction.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    }
}
