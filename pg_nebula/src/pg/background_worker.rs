//! Interfaces for background workers that pgrx does not have.
#![expect(unsafe_code, reason = "variables, catalog and configuration of the server are C interfaces")]

use std::ffi::CStr;

use pgrx::prelude::*;

/// Defines the function that a background worker starts in. The server looks it up by its name.
macro_rules! entry_point {
    ($(#[$documentation:meta])* $name:ident => $main:path) => {
        $(#[$documentation])*
        #[::pgrx::pg_guard]
        #[expect(unsafe_code, reason = "the server looks the function up by its name")]
        #[unsafe(no_mangle)]
        pub(crate) extern "C-unwind" fn $name(_argument: ::pgrx::pg_sys::Datum) {
            $main();
        }
    };
}
pub(crate) use entry_point;

/// Number of this process.
pub(crate) fn process_id() -> i32 {
    // SAFETY: a variable of this process, set at its start.
    unsafe { pg_sys::MyProcPid }
}

/// Reads the configuration files again.
pub(crate) fn reload_configuration() {
    // SAFETY: called in the main loop of a background worker, outside of transactions.
    unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
}

/// Whether a database exists. Works in a process that is connected to none.
pub(crate) fn database_exists(name: &CStr) -> bool {
    // SAFETY: inside a transaction; what is opened is closed in order. Without an index, because a process
    // without a database cannot look up those of pg_database; the table has one row per database.
    unsafe {
        let lock = pg_sys::AccessShareLock.cast_signed();
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_database_datname as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_NAMEEQ.into(),
            name.as_ptr().into(),
        );
        let snapshot = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(relation, pg_sys::InvalidOid, false, snapshot, 1, &mut key);
        let found = !pg_sys::systable_getnext(scan).is_null();
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
        found
    }
}
