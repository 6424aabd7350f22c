//! The ends of transactions, and what other sessions say of the tables: where the map follows the rows.
#![expect(unsafe_code, reason = "callbacks of PostgreSQL are C functions")]

use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use pgrx::pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
use pgrx::pg_sys::XactEvent::{
    XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_PREPARE, XACT_EVENT_PREPARE,
};
use pgrx::prelude::*;

use super::log::{Entry, Event, Log};
use super::{follow, local, shared};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::table::{self, relation};
use crate::{link, pool, wakeup};

thread_local! {
    static LOG: RefCell<Log> = const { RefCell::new(Log::new()) };
    /// Transaction being prepared; by the time it is, the server no longer says.
    static PREPARED: Cell<u32> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    static KNOWN: Cell<Known> = const { Cell::new(Known::NOTHING) };
}

/// Relations that were looked up.
#[derive(Clone, Copy)]
struct Known {
    /// nebula.allocation
    allocation: pg_sys::Oid,
    /// Who it belongs to, and with it the extension.
    owner: pg_sys::Oid,
    /// nebula.pool; messages on it say that pools changed.
    pool: pg_sys::Oid,
    /// Messages on it say that addresses were given back.
    given: pg_sys::Oid,
}

impl Known {
    const NOTHING: Self = Self {
        allocation: pg_sys::InvalidOid,
        owner: pg_sys::InvalidOid,
        pool: pg_sys::InvalidOid,
        given: pg_sys::InvalidOid,
    };

    /// Looks them up, once until one of them changes.
    fn look_up() -> Result<Self> {
        let mut known = KNOWN.get();
        if known.allocation == pg_sys::InvalidOid {
            let allocation = relation(c"allocation")?;
            known = Self {
                allocation,
                owner: table::owner(allocation),
                pool: relation(c"pool")?,
                // Nobody plans on a sequence, so a message on its name disturbs nobody.
                given: relation(c"pool_pool_id_seq")?,
            };
            require_own_version()?;
            KNOWN.set(known);
        }
        Ok(known)
    }
}

/// Records what happened to an address in the present subtransaction.
pub(crate) fn record(pool: i32, number: u128, event: Event) {
    let subtransaction = follow_transaction();
    LOG.with_borrow_mut(|log| log.push(Entry { subtransaction, pool, number, event }));
}

/// Makes the end of the present transaction heard; answers its innermost subtransaction.
pub(crate) fn follow_transaction() -> u32 {
    register();
    // SAFETY: answers a number; needs only to be inside a transaction, as every function call is.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// The log of the present transaction.
pub(crate) fn with_log<T>(use_it: impl FnOnce(&mut Log) -> T) -> T {
    LOG.with_borrow_mut(use_it)
}

/// Once a session: the server calls back for as long as the session lives.
pub(crate) fn register() {
    if REGISTERED.replace(true) {
        return;
    }
    // SAFETY: the functions live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_sub_end), std::ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(on_change), pg_sys::Datum::null());
    }
}

/// Makes whoever shrinks, drops or reserves wait for this transaction, or waits for them, and hears what other sessions
/// say of pools and releases: both are known from here on. The insert takes the same lock.
pub(crate) fn join_allocators() -> Result<()> {
    register();
    let known = Known::look_up()?;
    // SAFETY: inside a transaction, by identifier; when the table is gone what follows says so. Locks only the first
    // time in a transaction, and messages are read with it; hence read them here once more.
    unsafe {
        pg_sys::LockRelationOid(known.allocation, pg_sys::RowExclusiveLock as i32);
        pg_sys::AcceptInvalidationMessages();
    }
    Ok(())
}

/// Who the extension's tables belong to.
pub(crate) fn owner() -> Result<pg_sys::Oid> {
    Ok(Known::look_up()?.owner)
}

/// A library that is newer than the tables it finds would not know its way about.
fn require_own_version() -> Result<()> {
    static VERSION: Plan = Plan::new(
        "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_nebula' AND extversion <> $1",
    );
    let own = env!("CARGO_PKG_VERSION");
    match VERSION.first(&[own.into()], |row| row.need::<String>(1))? {
        None => Ok(()),
        Some(version) => Err(Error::new(
            Kind::Outdated,
            format!("the library of pg_nebula is version {own}, this database has version {version}"),
            "Bring the database up to date: ALTER EXTENSION pg_nebula UPDATE.",
        )),
    }
}

/// Tells every session, when this transaction commits, that the pools changed.
pub(crate) fn tell_pools_changed() -> Result<()> {
    tell(relation(c"pool")?)
}

/// Tells sessions that search without a shared map, when this transaction commits, that addresses were given back.
pub(crate) fn tell_given() -> Result<()> {
    tell(relation(c"pool_pool_id_seq")?)
}

fn tell(relation: pg_sys::Oid) -> Result<()> {
    // SAFETY: inside a transaction, with the identifier of an existing relation.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
    Ok(())
}

/// Whether later statements of this transaction see no more than the first: REPEATABLE READ and stricter.
pub(crate) fn snapshot_is_fixed() -> bool {
    // SAFETY: a plain variable of the session.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Whether this transaction is still running: prepared ones are.
pub(crate) fn is_running(transaction: u32) -> bool {
    // SAFETY: any number may be asked about.
    unsafe { pg_sys::TransactionIdIsInProgress(pg_sys::TransactionId::from_inner(transaction)) }
}

/// Start of the present transaction, in PostgreSQL's microseconds.
pub(crate) fn transaction_start() -> i64 {
    // SAFETY: a plain variable of the session.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// lock_timeout in milliseconds; 0: none.
pub(crate) fn lock_timeout() -> u64 {
    // SAFETY: a plain variable of the session.
    u64::try_from(unsafe { pg_sys::LockTimeout }).unwrap_or(0)
}

/// deadlock_timeout in milliseconds.
pub(crate) fn deadlock_timeout() -> u64 {
    // SAFETY: a plain variable of the session.
    u64::try_from(unsafe { pg_sys::DeadlockTimeout }).unwrap_or(1000)
}

/// Start of the present statement, in PostgreSQL's microseconds.
pub(crate) fn now() -> i64 {
    // SAFETY: a plain variable of the session.
    unsafe { pg_sys::GetCurrentStatementStartTimestamp() }
}

/// The time, in PostgreSQL's microseconds.
pub(crate) fn clock() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Identifier of the database.
pub(crate) fn database() -> u32 {
    // SAFETY: set once when the session starts.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

#[pg_guard]
extern "C-unwind" fn on_end(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    match event {
        XACT_EVENT_COMMIT => {
            for_all(LOG.with_borrow_mut(Log::finish), follow::committed);
            wakeup::committed();
        }
        XACT_EVENT_ABORT => {
            for_all(LOG.with_borrow_mut(Log::finish), follow::undone);
            wakeup::aborted();
        }
        XACT_EVENT_PRE_PREPARE => {
            // SAFETY: inside the transaction that is being prepared.
            PREPARED.set(unsafe { pg_sys::GetTopTransactionIdIfAny() }.into_inner());
        }
        XACT_EVENT_PREPARE => {
            for_all(LOG.with_borrow_mut(Log::finish), |entries| follow::prepared(entries, PREPARED.get()));
            wakeup::prepared(PREPARED.get());
        }
        _ => {}
    }
}

fn for_all(entries: Vec<Entry>, act: impl FnOnce(&[Entry])) {
    if !entries.is_empty() {
        act(&entries);
    }
}

#[pg_guard]
extern "C-unwind" fn on_sub_end(
    event: pg_sys::SubXactEvent::Type,
    subtransaction: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    match event {
        SUBXACT_EVENT_COMMIT_SUB => wakeup::sub_committed(subtransaction, parent),
        SUBXACT_EVENT_ABORT_SUB => wakeup::sub_aborted(subtransaction),
        _ => {}
    }
    if LOG.with_borrow(Log::is_empty) {
        return;
    }
    match event {
        SUBXACT_EVENT_COMMIT_SUB => LOG.with_borrow_mut(|log| log.reparent(subtransaction, parent)),
        SUBXACT_EVENT_ABORT_SUB => {
            for_all(LOG.with_borrow_mut(|log| log.undo(subtransaction)), follow::undone);
        }
        _ => {}
    }
}

#[pg_guard]
extern "C-unwind" fn on_change(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    let known = KNOWN.get();
    table::forget(relation);
    link::forget_table(relation);
    // No relation means all of them: the queue of messages ran over.
    let all = relation == pg_sys::InvalidOid;
    if all || relation == known.pool || relation == known.allocation {
        // The extension may be dropped and made anew under other identifiers.
        KNOWN.set(Known::NOTHING);
        pool::forget_all();
        local::forget_all();
    } else if relation == known.given && !shared::present() {
        local::forget_all();
    }
}
