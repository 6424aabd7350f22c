//! The background worker: what must happen even when nobody calls. Present when the extension is preloaded; otherwise
//! any scheduler may call the same functions.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::prelude::*;

use crate::settings;

/// How long after a failure, or without its database, the worker tries again.
const RESTART: Duration = Duration::from_secs(10);
/// Time between two looks at the history of jobs, which reads all of it.
const PRUNE: Duration = Duration::from_secs(600);

/// Asks for the worker when the server starts; called once, from `_PG_init`, while libraries are preloaded.
pub(crate) fn register() {
    if settings::database().is_none() {
        return;
    }
    BackgroundWorkerBuilder::new("pg_nebula maintenance")
        .set_function("nebula_maintenance")
        .set_library("pg_nebula")
        .enable_spi_access()
        .set_restart_time(Some(RESTART))
        .load();
}

/// Where the worker starts. An error ends the process, and the server starts it again after [`RESTART`].
#[pg_guard]
#[expect(unsafe_code, reason = "the server looks the function up by name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn nebula_maintenance(_argument: pg_sys::Datum) {
    if connect().is_none() {
        return;
    }
    let mut next_prune = Instant::now();
    while BackgroundWorker::wait_latch(Some(Duration::from_secs(settings::maintenance_interval()))) {
        heed_reload();
        for function in ["nebula.maintain_pools()", "nebula.rescue_jobs()"] {
            BackgroundWorker::transaction(|| run(function));
        }
        if Instant::now() >= next_prune {
            BackgroundWorker::transaction(|| run("nebula.maintain_jobs()"));
            next_prune = Instant::now() + PRUNE;
        }
    }
    exit();
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

/// Calls a function if it is there: the extension may not be, or not yet, and an older one has fewer functions.
pub(crate) fn run(function: &str) {
    // Only on a primary: a standby cannot write, and takes over the work when it is promoted.
    let possible = format!("SELECT to_regprocedure('{function}') IS NOT NULL AND NOT pg_is_in_recovery()");
    if Spi::get_one::<bool>(&possible) == Ok(Some(true))
        && let Err(error) = Spi::run(&format!("SELECT {function}"))
    {
        warning!("{function} failed: {error}");
    }
}

/// Reads the configuration again if somebody asked for it.
#[expect(unsafe_code, reason = "a C function without arguments to get wrong")]
pub(crate) fn heed_reload() {
    if BackgroundWorker::sighup_received() {
        // SAFETY: in the main loop of a background worker, outside any transaction.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    }
}

/// Ends the process so that the server starts it again, unless the server itself is stopping.
#[expect(unsafe_code, reason = "a C function that takes a number")]
pub(crate) fn exit() -> ! {
    // SAFETY: in the main loop of a background worker, outside any transaction. Code 0 would mean: never again.
    unsafe { pg_sys::proc_exit(1) }
}
