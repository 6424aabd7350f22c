//! The background worker for periodic work: expired leases, lost jobs, pruning, usage of pools.
//!
//! It runs when the extension is preloaded; otherwise a scheduler such as pg_cron may call the same
//! functions.

use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::worker::{connect, end_complete_restore, is_being_restored, is_callable, reload_if_asked, run};
use crate::addresses::usage_threshold;
use crate::free_map::usage_signal::{self, SeenCounters};
use crate::pg::background_worker::entry_point;
use crate::pg::settings;

/// Least time between two counts of pools whose usage may have changed: counting slows down allocations.
const MIN_COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two counts of all pools: nothing signals rows inserted by hand, nor quarantines that end.
const FULL_COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// Time between two prunings of the histories of jobs and events; that of jobs reads all of it.
const PRUNE_INTERVAL: Duration = Duration::from_mins(10);

/// Functions that every round calls, in this order.
const ROUND: [&str; 10] = [
    "nebula.reclaim_expired(integer)",
    "nebula.rescue_jobs()",
    "nebula.maintain_revocations()",
    "nebula.maintain_rotations()",
    // The parts of nebula.maintain_peers(), each in a transaction of its own: they lock different nodes and peers.
    "nebula.withdraw_late_peers(uuid[])",
    "nebula.expire_peers(uuid[])",
    "nebula.end_abandoned_peers(uuid[])",
    "nebula.note_alarms()",
    "nebula.set_rank_step()",
    "nebula.sample_series()",
];

entry_point! {
    /// Main function of the worker. An error ends the process, and the launcher starts it again.
    nebula_maintenance => work
}

fn work() {
    if connect().is_none() {
        return;
    }
    usage_signal::register_watcher();
    // After a crash the map is empty. Filled here, no allocation has to wait for its pages.
    BackgroundWorker::transaction(|| run("nebula.warm_map(integer)"));
    let mut schedule = Schedule::all_due();
    while BackgroundWorker::wait_latch(Some(schedule.until_next())) {
        reload_if_asked();
        schedule.run_due();
    }
}

/// When each kind of work is due next.
struct Schedule {
    /// The functions of [`ROUND`].
    round: Instant,
    /// Counting all pools.
    full_count: Instant,
    /// Pruning the histories of jobs and events.
    prune: Instant,
    /// Counting the pools whose usage may have changed.
    count: Instant,
    seen: SeenCounters,
    /// Whether there was a prepared transaction in the last round: its commit signals nothing.
    prepared: bool,
    /// Whether the database was being restored in the last round.
    restoring: bool,
}

impl Schedule {
    fn all_due() -> Self {
        let now = Instant::now();
        Self {
            round: now,
            full_count: now,
            prune: now,
            count: now,
            seen: SeenCounters::default(),
            prepared: false,
            restoring: false,
        }
    }

    /// Time until the next work. A count that is overdue has nothing to count, and waits for the latch.
    fn until_next(&self) -> Duration {
        let now = Instant::now();
        let next = if self.count > now { self.round.min(self.count) } else { self.round };
        next.saturating_duration_since(now)
    }

    fn run_due(&mut self) {
        let now = Instant::now();
        let round = now >= self.round;
        if round {
            self.round = now + Duration::from_secs(settings::maintenance_interval());
            self.follow_restore();
        }
        if self.restoring {
            return;
        }
        if round {
            for function in ROUND {
                BackgroundWorker::transaction(|| run(function));
            }
            let prepared = BackgroundWorker::transaction(has_prepared_transactions);
            if prepared || self.prepared {
                self.full_count = now;
            }
            self.prepared = prepared;
        }
        if now >= self.prune {
            self.prune = now + PRUNE_INTERVAL;
            BackgroundWorker::transaction(|| run("nebula.maintain_jobs()"));
            BackgroundWorker::transaction(|| run("nebula.maintain_events()"));
        }
        if now < self.count {
            return;
        }
        // The counters are read before the rows, so that a change in between is counted next time.
        let (risen, fallen) = self.seen.changed_pools();
        if now >= self.full_count {
            self.full_count = now + FULL_COUNT_INTERVAL;
            BackgroundWorker::transaction(|| run("nebula.maintain_pools()"));
        } else if !risen.is_empty() || !fallen.is_empty() {
            BackgroundWorker::transaction(|| count_pools(risen, fallen));
        } else {
            return;
        }
        self.count = Instant::now() + MIN_COUNT_INTERVAL;
    }

    /// Looks whether a restore of the database has begun or ended.
    fn follow_restore(&mut self) {
        let restoring = BackgroundWorker::transaction(|| {
            end_complete_restore();
            is_being_restored()
        });
        if restoring && !self.restoring {
            log!(
                "pg_nebula does nothing until the restore of this database is over; if nothing more is to \
                 come: SELECT nebula.finish_restore()"
            );
        } else if self.restoring && !restoring {
            log!("pg_nebula begins: the restore of this database is over");
            BackgroundWorker::transaction(|| run("nebula.warm_map(integer)"));
        }
        self.restoring = restoring;
    }
}

fn count_pools(risen: Vec<i32>, fallen: Vec<i32>) {
    if is_callable("nebula.notify_usage(integer)")
        && let Err(error) = usage_threshold::count_pools(risen, fallen)
    {
        warning!("{error}");
    }
}

fn has_prepared_transactions() -> bool {
    let any = "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())";
    Spi::get_one::<bool>(any) == Ok(Some(true))
}
