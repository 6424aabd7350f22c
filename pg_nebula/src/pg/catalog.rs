//! The extension's own relations: their identifiers and owner, and invalidations between sessions.
//!
//! Sessions tell each other of changes by PostgreSQL's relation cache invalidations, which are sent when the
//! transaction commits and cost nothing as long as nothing changes.
#![expect(unsafe_code, reason = "look-ups in the server's catalog caches")]

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::prelude::*;

use super::error::{Error, Kind, Result};
use super::hooks;
use super::statement::Statement;

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known::NOTHING) };
}

/// Results of catalog look-ups.
#[derive(Clone, Copy)]
struct Known {
    /// `nebula.allocation`.
    allocation: pg_sys::Oid,
    /// Owner of that table, and with it of all tables of the extension.
    owner: pg_sys::Oid,
    /// `nebula.pool`. Its invalidation says that pools changed.
    pool: pg_sys::Oid,
    /// `nebula.pool_pool_id_seq`. Its invalidation says that addresses were released. A sequence, because no
    /// prepared statement of this extension reads it, so the message makes no session plan again.
    released: pg_sys::Oid,
}

impl Known {
    const NOTHING: Self = Self {
        allocation: pg_sys::InvalidOid,
        owner: pg_sys::InvalidOid,
        pool: pg_sys::InvalidOid,
        released: pg_sys::InvalidOid,
    };

    /// Looks the relations up, unless that was done since one of them changed.
    fn look_up() -> Result<Self> {
        let mut known = KNOWN.get();
        if known.allocation == pg_sys::InvalidOid {
            let allocation = relation(c"allocation")?;
            known = Self {
                allocation,
                owner: owner_of(allocation),
                pool: relation(c"pool")?,
                released: relation(c"pool_pool_id_seq")?,
            };
            require_own_version()?;
            KNOWN.set(known);
        }
        Ok(known)
    }
}

/// Meaning of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Pools, or the extension itself, may have changed.
    Pools,
    /// Addresses were released.
    Released,
    /// None for this module.
    Other,
}

/// Meaning of a change of this relation. Drops the look-ups when the extension may have been dropped and
/// created again.
pub(crate) fn change_of(relation: pg_sys::Oid) -> Change {
    let known = KNOWN.get();
    // InvalidOid stands for all relations: the queue of invalidations overflowed.
    if relation == pg_sys::InvalidOid || relation == known.pool || relation == known.allocation {
        KNOWN.set(Known::NOTHING);
        Change::Pools
    } else if relation == known.released {
        Change::Released
    } else {
        Change::Other
    }
}

/// Locks nebula.allocation as an INSERT does, then processes invalidations of pools and releases.
///
/// The lock conflicts with that of statements that shrink, drop or reserve ranges, so one waits for the
/// other. Taking a lock processes invalidations only the first time in a transaction, hence the explicit
/// second call.
pub(crate) fn join_allocators() -> Result<()> {
    hooks::register();
    let known = Known::look_up()?;
    // SAFETY: inside a transaction; any identifier can be locked. If the table is gone, the next statement
    // fails.
    unsafe { pg_sys::LockRelationOid(known.allocation, pg_sys::RowExclusiveLock as i32) };
    receive_messages();
    Ok(())
}

/// Processes the invalidations that other sessions have sent until now.
pub(crate) fn receive_messages() {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// Owner of the extension's tables.
pub(crate) fn owner() -> Result<pg_sys::Oid> {
    Ok(Known::look_up()?.owner)
}

/// Fails when the tables of this database are of another version than this library: columns may be missing.
pub(crate) fn require_own_version() -> Result<()> {
    static VERSION: Statement = Statement::new(
        "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_nebula' AND extversion <> $1",
    );
    let own = env!("CARGO_PKG_VERSION");
    match VERSION.query_opt(&[own.into()], |row| row.need::<String>(1))? {
        None => Ok(()),
        Some(version) => Err(Error::new(
            Kind::Outdated,
            format!("the library of pg_nebula is version {own}, this database has version {version}"),
            "Bring the database up to date: ALTER EXTENSION pg_nebula UPDATE.",
        )),
    }
}

/// Tells all sessions, when this transaction commits, that pools changed.
pub(crate) fn tell_pools_changed() -> Result<()> {
    tell_changed(relation(c"pool")?);
    Ok(())
}

/// Tells sessions that search without the shared map, when this transaction commits, that addresses were
/// released.
pub(crate) fn tell_released() -> Result<()> {
    tell_changed(relation(c"pool_pool_id_seq")?);
    Ok(())
}

/// Tells all sessions, when this transaction commits, that what they have cached of a relation is out of
/// date.
pub(crate) fn tell_changed(relation: pg_sys::Oid) {
    // SAFETY: inside a transaction, with the identifier of an existing relation.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// Identifier of a relation in schema nebula.
///
/// # Errors
/// [`Kind::Internal`] when it does not exist: the extension was dropped meanwhile.
pub(crate) fn relation(name: &CStr) -> Result<pg_sys::Oid> {
    // SAFETY: catalog look-ups by valid names inside a transaction.
    let oid = unsafe {
        pg_sys::get_relname_relid(name.as_ptr(), pg_sys::get_namespace_oid(c"nebula".as_ptr(), true))
    };
    if oid == pg_sys::InvalidOid { Err(Error::corrupt_schema("table of the extension")) } else { Ok(oid) }
}

fn owner_of(table: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: inside a transaction, by identifier; an open relation points to its catalog row.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        let owner = (*(*relation).rd_rel).relowner;
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        owner
    }
}
