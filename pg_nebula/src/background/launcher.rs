//! The launcher: a process is connected to one database for life, and the one to look after may not be there yet. So the
//! launcher, which is connected to none, waits for it, and starts what works there whenever it is not running.

use std::ffi::CString;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker,
    SignalWakeFlags,
};
use pgrx::prelude::*;

use super::worker::reload_if_asked;
use crate::free_map::usage_signal;
use crate::pg::settings;

/// How long after its start failed, or after it ended, a process is started again.
const RESTART: Duration = Duration::from_secs(5);

/// Asks for the launcher when the server starts; called once, from `_PG_init`, while libraries are preloaded.
pub(crate) fn register() {
    if settings::database().is_some() {
        builder("pg_nebula launcher", "nebula_launcher").set_restart_time(Some(RESTART)).load();
    }
}

fn builder(name: &str, function: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name).set_function(function).set_library("pg_nebula").enable_spi_access()
}

/// A process that is to run as long as the database is there.
struct Child {
    name: &'static str,
    function: &'static str,
    /// To be done when it has ended, by itself or not.
    ended: fn(),
    running: Option<DynamicBackgroundWorker>,
    /// Not before this.
    next: Instant,
}

impl Child {
    fn new(name: &'static str, function: &'static str, ended: fn()) -> Self {
        Self { name, function, ended, running: None, next: Instant::now() }
    }

    fn is_running(&self) -> bool {
        let ended = |status| {
            matches!(status, BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)
        };
        self.running.as_ref().is_some_and(|process| !process.pid().is_err_and(ended))
    }

    /// Starts it if it is not there; whatever ended it: an error, an administrator, or the end of the database.
    fn look_after(&mut self, database_exists: impl FnOnce() -> bool) {
        if self.is_running() {
            return;
        }
        if self.running.take().is_some() {
            (self.ended)();
            self.next = Instant::now() + RESTART;
        }
        if Instant::now() < self.next || !database_exists() {
            return;
        }
        // SAFETY: set once when the process starts.
        #[expect(unsafe_code, reason = "a variable of the process")]
        let me = unsafe { pg_sys::MyProcPid };
        match builder(self.name, self.function).set_notify_pid(me).load_dynamic() {
            Ok(process) => self.running = Some(process),
            Err(_) => {
                self.next = Instant::now() + RESTART;
                warning!("{} found no room; raise max_worker_processes", self.name);
            }
        }
    }
}

/// Where the launcher starts.
#[pg_guard]
#[expect(unsafe_code, reason = "the server looks the function up by name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn nebula_launcher(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let Some(database) = settings::database().and_then(|name| CString::new(name).ok()) else { return };
    BackgroundWorker::connect_worker_to_spi(None, None);
    let mut children = [
        Child::new("pg_nebula maintenance", "nebula_maintenance", usage_signal::retire),
        Child::new("pg_nebula wakeup", "nebula_wakeup", || {}),
    ];
    let mut wait = Duration::ZERO;
    // The server rings when a child starts or ends.
    while BackgroundWorker::wait_latch(Some(wait)) {
        wait = Duration::from_secs(settings::maintenance_interval());
        reload_if_asked();
        for child in &mut children {
            child.look_after(|| BackgroundWorker::transaction(|| exists(&database)));
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
