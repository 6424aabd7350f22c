//! Functions that all background workers use.

use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::prelude::*;

use crate::pg::background_worker::reload_configuration;
use crate::pg::settings;

/// Connects this process to the configured database and returns its name; `None` if none is configured.
pub(crate) fn connect() -> Option<String> {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let database = settings::database()?;
    BackgroundWorker::connect_worker_to_spi(Some(&database), None);
    BackgroundWorker::transaction(|| {
        for setting in SETTINGS {
            if let Err(error) = Spi::run(&format!("SET {setting}")) {
                warning!("SET {setting} failed: {error}");
            }
        }
    });
    Some(database)
}

/// Settings of the sessions of these processes; they override those of the database.
const SETTINGS: [&str; 3] = [
    // No client waits for this work, and what a crash loses is done again.
    "synchronous_commit = off",
    // These processes are superusers, so no object that another role made may take the place of the server's own.
    "search_path = pg_catalog, pg_temp",
    // Pruning and claiming need to see rows that were committed while they waited for a lock.
    "default_transaction_isolation = 'read committed'",
];

/// Calls a function if it exists.
pub(crate) fn run(function: &str) {
    let name = function.split('(').next().unwrap_or(function);
    if is_callable(function)
        && let Err(error) = Spi::run(&format!("SELECT {name}()"))
    {
        warning!("{name} failed: {error}");
    }
}

/// Whether a function can be called: the extension may not be installed, or in a version without the
/// function.
pub(crate) fn is_callable(function: &str) -> bool {
    // A standby cannot write; the functions become callable when it is promoted.
    let possible = format!("SELECT to_regprocedure('{function}') IS NOT NULL AND NOT pg_is_in_recovery()");
    Spi::get_one::<bool>(&possible) == Ok(Some(true))
}

/// Reads the configuration again after SIGHUP.
pub(crate) fn reload_if_asked() {
    if BackgroundWorker::sighup_received() {
        reload_configuration();
    }
}
