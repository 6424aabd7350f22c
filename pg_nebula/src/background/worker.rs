//! What every background process of this extension needs.

use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::prelude::*;

use crate::pg::settings;

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

/// Calls a function if it is there.
pub(crate) fn run(function: &str) {
    let name = function.split('(').next().unwrap_or(function);
    if is_there(function)
        && let Err(error) = Spi::run(&format!("SELECT {name}()"))
    {
        warning!("{name} failed: {error}");
    }
}

/// Whether a function can be called: the extension may not be there, or not yet, and an older one has fewer functions.
pub(crate) fn is_there(function: &str) -> bool {
    // Only on a primary: a standby cannot write, and takes over the work when it is promoted.
    let possible = format!("SELECT to_regprocedure('{function}') IS NOT NULL AND NOT pg_is_in_recovery()");
    Spi::get_one::<bool>(&possible) == Ok(Some(true))
}

/// Reads the configuration again if somebody asked for it.
#[expect(unsafe_code, reason = "a C function without arguments to get wrong")]
pub(crate) fn reload_if_asked() {
    if BackgroundWorker::sighup_received() {
        // SAFETY: in the main loop of a background worker, outside any transaction.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    }
}
