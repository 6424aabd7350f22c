//! The background worker: what must happen even when nobody calls. Present when the extension is preloaded; otherwise
//! any scheduler may call the same functions.

use std::time::Duration;

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::prelude::*;

use crate::settings;

/// How long after a failure, or without its database, the worker tries again.
const RESTART: Duration = Duration::from_secs(10);

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
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let Some(database) = settings::database() else { return };
    BackgroundWorker::connect_worker_to_spi(Some(&database), None);
    while BackgroundWorker::wait_latch(Some(Duration::from_secs(settings::maintenance_interval()))) {
        if BackgroundWorker::sighup_received() {
            reload();
        }
        for function in ["nebula.maintain_pools()", "nebula.rescue_jobs()"] {
            BackgroundWorker::transaction(|| run(function));
        }
    }
}

/// Calls a function if it is there: the extension may not be, or not yet, and an older one has fewer functions.
fn run(function: &str) {
    // Only on a primary: a standby cannot write, and takes over the work when it is promoted.
    let possible = format!("SELECT to_regprocedure('{function}') IS NOT NULL AND NOT pg_is_in_recovery()");
    if Spi::get_one::<bool>(&possible) == Ok(Some(true))
        && let Err(error) = Spi::run(&format!("SELECT {function}"))
    {
        warning!("{function} failed: {error}");
    }
}

#[expect(unsafe_code, reason = "a C function without arguments to get wrong")]
fn reload() {
    // SAFETY: in the main loop of a background worker, outside any transaction.
    unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
}
