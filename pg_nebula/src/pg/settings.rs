//! Settings of the server: `nebula.*`.

use std::ffi::{CStr, CString};

use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static MAP_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(16);
static DATABASE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"nebula"));
static DIRECT_WRITES: GucSetting<bool> = GucSetting::<bool>::new(true);
static MAINTENANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5);
/// Read by `nebula.maintain_events` in SQL.
static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(576_000);
static NODE_LATE_AFTER: GucSetting<i32> = GucSetting::<i32>::new(90);
static NODE_LOST_AFTER: GucSetting<i32> = GucSetting::<i32>::new(600);
static NODE_SECRET_AGE: GucSetting<i32> = GucSetting::<i32>::new(129_600);

/// `nebula.map_memory`, in megabytes.
pub(crate) fn map_memory() -> usize {
    usize::try_from(MAP_MEMORY.get()).unwrap_or(1)
}

/// `nebula.direct_writes`.
pub(crate) fn direct_writes() -> bool {
    DIRECT_WRITES.get()
}

/// `nebula.database`; `None` when it is empty.
pub(crate) fn database() -> Option<String> {
    DATABASE.get().and_then(|name| name.into_string().ok()).filter(|name| !name.is_empty())
}

/// `nebula.maintenance_interval`, in seconds.
pub(crate) fn maintenance_interval() -> u64 {
    u64::try_from(MAINTENANCE_INTERVAL.get()).unwrap_or(1)
}

/// `nebula.node_late_after`, in seconds.
pub(crate) fn node_late_after() -> f64 {
    f64::from(NODE_LATE_AFTER.get())
}

/// Whether the server allows `PREPARE TRANSACTION`: max_prepared_transactions is not 0.
#[expect(unsafe_code, reason = "the value of a setting is a C string")]
pub(crate) fn may_prepare() -> bool {
    // SAFETY: the name is valid; the string is read before anything can change the setting.
    unsafe {
        let value = pg_sys::GetConfigOption(c"max_prepared_transactions".as_ptr(), true, false);
        !value.is_null() && CStr::from_ptr(value) != c"0"
    }
}

/// Defines the settings; called once, by `_PG_init`.
pub(crate) fn define(preloaded: bool) {
    // The server lets settings that need a restart be defined only while it starts.
    let fixed = || if preloaded { GucContext::Postmaster } else { GucContext::Sighup };
    GucRegistry::define_int_guc(
        c"nebula.map_memory",
        c"Shared memory for the map of free addresses.",
        c"Each pool in use takes a page of 8 kB for 32768 addresses; pages that are not used give way. \
          Without effect unless pg_nebula is in shared_preload_libraries.",
        &MAP_MEMORY,
        1,
        1 << 16,
        fixed(),
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_string_guc(
        c"nebula.database",
        c"Database that the background worker maintains.",
        c"The worker reclaims expired leases, rescues jobs of lost workers and notifies of pools that fill \
          up. It waits for the database to be made. Empty: no worker. Without effect unless pg_nebula is \
          in shared_preload_libraries.",
        &DATABASE,
        fixed(),
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"nebula.maintenance_interval",
        c"Time between two rounds of the background worker.",
        c"Expired leases and lost jobs wait at most this long. Without effect unless pg_nebula is in \
          shared_preload_libraries.",
        &MAINTENANCE_INTERVAL,
        1,
        3600,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"nebula.direct_writes",
        c"Writes rows of allocations and jobs through the table access method instead of SQL statements.",
        c"Faster, but hooks of the executor, such as those of pgaudit, pg_stat_statements and \
          auto_explain, do not see these writes. Switch it off where they must. Triggers and rules run in \
          any case.",
        &DIRECT_WRITES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"nebula.event_retention",
        c"How long events are kept.",
        c"Events are deleted by the month, once the last of a month is older. 0: they are kept for ever.",
        &EVENT_RETENTION,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MIN,
    );
    define_for_nodes();
    reserve_prefix();
}

fn define_for_nodes() {
    GucRegistry::define_int_guc(
        c"nebula.node_late_after",
        c"Age of the last report of a node from which on it takes no new peers.",
        c"A node that has never reported is trusted as registered.",
        &NODE_LATE_AFTER,
        1,
        86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"nebula.node_lost_after",
        c"Age of the last report of a node from which on it counts as lost.",
        c"It changes what lists and events say.",
        &NODE_LOST_AFTER,
        1,
        604_800,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"nebula.node_secret_age",
        c"Age of the newest secret of a node from which on an event asks for another one.",
        c"0: never.",
        &NODE_SECRET_AGE,
        0,
        5_256_000,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
}

/// Makes a misspelt `nebula.` setting an error; otherwise the server would accept it without effect.
#[expect(unsafe_code, reason = "the prefix is a C string")]
fn reserve_prefix() {
    // SAFETY: a valid name; the function copies it.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"nebula".as_ptr()) };
}
