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
const SETTINGS: [&str; 5] = [
    // No client waits for this work, and what a crash loses is done again.
    "synchronous_commit = off",
    // These processes are superusers, so no object that another role made may take the place of the
    // server's own.
    "search_path = pg_catalog, pg_temp",
    // Pruning and claiming need to see rows that were committed while they waited for a lock.
    "default_transaction_isolation = 'read committed'",
    // Triggers and foreign keys hold for this work, and it may wait for a lock.
    "session_replication_role = origin",
    "lock_timeout = 0",
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
    is_true(&format!("to_regprocedure('{function}') IS NOT NULL")) && is_writable() && !is_being_restored()
}

/// Neither a standby nor a database with `default_transaction_read_only`. Both may end while this process
/// runs.
fn is_writable() -> bool {
    is_true("current_setting('transaction_read_only') = 'off'")
}

/// Ends a restore that brought everything, but not the statement at the end of a dump that says so: one of
/// the sections pre-data and data alone, or with `--data-only`.
pub(crate) fn end_complete_restore() {
    let end = "SELECT nebula.finish_restore() WHERE nebula.restore_is_over()";
    if is_being_restored()
        && is_writable()
        && let Err(error) = Spi::run(end)
    {
        warning!("nebula.finish_restore failed: {error}");
    }
}

/// Whether this database is being restored from a dump. Until that is over there is no work in it: half of
/// the rows are missing, and a row that is added now may be among those to come.
pub(crate) fn is_being_restored() -> bool {
    is_true("to_regclass('nebula.restore_progress') IS NOT NULL")
        && is_true("EXISTS (SELECT FROM nebula.restore_progress)")
}

fn is_true(condition: &str) -> bool {
    Spi::get_one::<bool>(&format!("SELECT {condition}")) == Ok(Some(true))
}

/// Reads the configuration again after SIGHUP.
pub(crate) fn reload_if_asked() {
    if BackgroundWorker::sighup_received() {
        reload_configuration();
    }
}
