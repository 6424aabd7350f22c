//! The background workers: what must happen even when nobody calls. Present when the extension is preloaded; otherwise
//! any scheduler may call the same functions.
//!
//! A process is connected to one database for life, and the one to look after may not be there yet. So a launcher, which
//! is connected to none, waits for it and starts the worker.

use std::ffi::CString;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::prelude::*;

use crate::alarm;
use crate::map::{self, Seen};
use crate::settings;

/// How long after a failure the launcher or the worker is started again.
const RESTART: Duration = Duration::from_secs(10);

/// Least time between two looks at pools that fill up: who counts all the time would slow down who allocates.
const PAUSE: Duration = Duration::from_secs(1);

/// How often every pool is counted, asked or not: rows made by hand, and quarantines that end, are told by nobody.
const SWEEP: Duration = Duration::from_mins(1);

/// Asks for the launcher when the server starts; called once, from `_PG_init`, while libraries are preloaded.
pub(crate) fn register() {
    if settings::database().is_some() {
        builder("pg_nebula launcher", "nebula_launcher").set_restart_time(Some(RESTART)).load();
    }
}

fn builder(name: &str, function: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name).set_function(function).set_library("pg_nebula").enable_spi_access()
}

/// Where the launcher starts: starts the worker whenever there is a database for it and none is running.
#[pg_guard]
#[expect(unsafe_code, reason = "the server looks the function up by name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn nebula_launcher(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let Some(database) = settings::database().and_then(|name| CString::new(name).ok()) else { return };
    BackgroundWorker::connect_worker_to_spi(None, None);
    let mut wait = Duration::ZERO;
    while BackgroundWorker::wait_latch(Some(wait)) {
        wait = Duration::from_secs(settings::maintenance_interval());
        if BackgroundWorker::sighup_received() {
            reload();
        }
        if BackgroundWorker::transaction(|| exists(&database)) {
            // SAFETY: set once when the process starts.
            #[expect(unsafe_code, reason = "a variable of the process")]
            let me = unsafe { pg_sys::MyProcPid };
            let worker =
                builder("pg_nebula maintenance", "nebula_maintenance").set_notify_pid(me).load_dynamic();
            match worker.map(|worker| worker.wait_for_shutdown()) {
                // Whatever ended it: an error, an administrator, or the end of the database.
                Ok(_) => map::retire(),
                Err(_) => {
                    warning!("pg_nebula found no room for its background worker; raise max_worker_processes")
                }
            }
            wait = RESTART;
        }
    }
}

/// Whether the database is there.
#[expect(unsafe_code, reason = "below SQL, which a process without a database does not have")]
fn exists(database: &CString) -> bool {
    // SAFETY: inside a transaction; what is opened is closed in order. Without an index, because a process without a
    // database may not know those of pg_database; it is as short as the list of databases.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock.cast_signed());
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_database_datname as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_NAMEEQ.into(),
            database.as_ptr().into(),
        );
        let none = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(relation, pg_sys::InvalidOid, false, none, 1, &mut key);
        let found = !pg_sys::systable_getnext(scan).is_null();
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock.cast_signed());
        found
    }
}

/// Where the worker starts. An error ends the process, and the launcher starts it again after [`RESTART`].
#[pg_guard]
#[expect(unsafe_code, reason = "the server looks the function up by name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn nebula_maintenance(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let Some(database) = settings::database() else { return };
    BackgroundWorker::connect_worker_to_spi(Some(&database), None);
    map::announce();
    // After a crash nothing is known of any pool; read now, no allocation has to wait for it.
    BackgroundWorker::transaction(|| run("nebula.warm_map(integer)"));
    let mut times = Times::at_once();
    while BackgroundWorker::wait_latch(Some(times.until_next())) {
        if BackgroundWorker::sighup_received() {
            reload();
        }
        times.work();
    }
}

/// When the worker does what next.
struct Times {
    /// Leases and jobs are looked after.
    round: Instant,
    /// Every pool is counted.
    sweep: Instant,
    /// Pools that fill up are counted, if there are any.
    look: Instant,
    seen: Seen,
    /// Whether a transaction was prepared at the last look: what it did is told by nobody when it commits.
    prepared: bool,
}

impl Times {
    fn at_once() -> Self {
        let now = Instant::now();
        Self { round: now, sweep: now, look: now, seen: Seen::default(), prepared: false }
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
            for function in ["nebula.reclaim_expired(integer)", "nebula.rescue_jobs()"] {
                BackgroundWorker::transaction(|| run(function));
            }
            let prepared = BackgroundWorker::transaction(transactions_are_prepared);
            if prepared || self.prepared {
                self.sweep = now;
            }
            self.prepared = prepared;
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
fn run(function: &str) {
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

#[expect(unsafe_code, reason = "a C function without arguments to get wrong")]
fn reload() {
    // SAFETY: in the main loop of a background worker, outside any transaction.
    unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
}
