//! The launcher starts the background workers, and starts them again when they end.
//!
//! A worker is connected to one database for life, and at the start of the server that database may not
//! exist yet. So the launcher, which is connected to no database, waits for it. It also ends the workers
//! when a command needs the database for itself (DROP, RENAME, copies), since such commands give up after
//! five seconds.

use std::ffi::CString;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker,
    SignalWakeFlags,
};
use pgrx::prelude::*;

use super::worker::reload_if_asked;
use crate::free_map::usage_signal;
use crate::pg::background_worker::{DatabaseState, database_state, entry_point, process_id};
use crate::pg::settings;

/// Delay before a worker is started again, after it ended or could not be started.
const RESTART_DELAY: Duration = Duration::from_secs(5);

/// Time between two looks whether a command needs the database for itself, which sets no latch.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Registers the launcher with the server; called once, by `_PG_init`, while libraries are preloaded.
pub(crate) fn register() {
    if settings::database().is_some() {
        builder("pg_nebula launcher", "nebula_launcher").set_restart_time(Some(RESTART_DELAY)).load();
    }
}

fn builder(name: &str, function: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name).set_function(function).set_library("pg_nebula").enable_spi_access()
}

/// A worker that is to run as long as the database exists.
struct SupervisedWorker {
    name: &'static str,
    function: &'static str,
    /// Called when the worker has ended, for any reason.
    on_end: fn(),
    running: Option<DynamicBackgroundWorker>,
    /// No start before this time.
    start_after: Instant,
}

impl SupervisedWorker {
    fn new(name: &'static str, function: &'static str, on_end: fn()) -> Self {
        Self { name, function, on_end, running: None, start_after: Instant::now() }
    }

    fn is_running(&self) -> bool {
        let ended = |status| {
            matches!(status, BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)
        };
        self.running.as_ref().is_some_and(|process| !process.pid().is_err_and(ended))
    }

    /// Asks the worker to leave the database, which it does after the work at hand.
    fn end(&mut self) {
        if let Some(process) = self.running.take() {
            let ended = process.terminate().wait_for_shutdown();
            (self.on_end)();
            if let Err(status) = ended {
                warning!("{} was not seen to end: {status:?}", self.name);
            }
        }
    }

    /// Starts the worker unless it runs, whatever the reason of its end was.
    fn ensure_running(&mut self) {
        if self.is_running() {
            return;
        }
        if self.running.take().is_some() {
            (self.on_end)();
            self.start_after = Instant::now() + RESTART_DELAY;
        }
        if Instant::now() < self.start_after {
            return;
        }
        match builder(self.name, self.function).set_notify_pid(process_id()).load_dynamic() {
            Ok(process) => self.running = Some(process),
            Err(_) => {
                self.start_after = Instant::now() + RESTART_DELAY;
                warning!("{} found no room; raise max_worker_processes", self.name);
            }
        }
    }
}

entry_point! {
    /// Main function of the launcher.
    nebula_launcher => run
}

fn run() {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let Some(database) = settings::database().and_then(|name| CString::new(name).ok()) else { return };
    BackgroundWorker::connect_worker_to_spi(None, None);
    let mut workers = [
        SupervisedWorker::new(
            "pg_nebula maintenance",
            "nebula_maintenance",
            usage_signal::unregister_watcher,
        ),
        SupervisedWorker::new("pg_nebula notifier", "nebula_notifier", || {}),
    ];
    let mut wait = Duration::ZERO;
    // The server sets the latch when a worker starts or ends.
    while BackgroundWorker::wait_latch(Some(wait)) {
        wait = LOOK_INTERVAL;
        reload_if_asked();
        match BackgroundWorker::transaction(|| database_state(&database)) {
            DatabaseState::Open => workers.iter_mut().for_each(SupervisedWorker::ensure_running),
            DatabaseState::Claimed => workers.iter_mut().for_each(SupervisedWorker::end),
            DatabaseState::Missing => {}
        }
    }
}
