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

/// What a process that is connected to no database can know of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseState {
    Missing,
    /// A command that needs all others to be disconnected has locked it: DROP DATABASE, ALTER DATABASE
    /// RENAME, CREATE DATABASE with this one as TEMPLATE.
    Claimed,
    Open,
}

/// The state of a database, in a transaction of a process that may be connected to none.
pub(crate) fn database_state(name: &CStr) -> DatabaseState {
    match database_oid(name) {
        None => DatabaseState::Missing,
        Some(oid) if is_claimed(oid) => DatabaseState::Claimed,
        Some(_) => DatabaseState::Open,
    }
}

/// Whether the lock that each session takes while it connects is not to be had. These commands hold it
/// while they wait, for five seconds, until nobody else is connected.
fn is_claimed(database: pg_sys::Oid) -> bool {
    let tag = pg_sys::LOCKTAG {
        // A shared object belongs to no database.
        locktag_field1: pg_sys::InvalidOid.to_u32(),
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: database.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    let lock = pg_sys::RowExclusiveLock.cast_signed();
    // SAFETY: the tag is valid; the lock is not waited for, and released if it was granted.
    unsafe {
        let granted =
            pg_sys::LockAcquire(&tag, lock, false, true) != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        if granted {
            pg_sys::LockRelease(&tag, lock, false);
        }
        !granted
    }
}

fn database_oid(name: &CStr) -> Option<pg_sys::Oid> {
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
        let row = pg_sys::systable_getnext(scan);
        let oid = (!row.is_null())
            .then(|| (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(row)).oid);
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
        oid
    }
}
