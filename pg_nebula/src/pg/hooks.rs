//! Callbacks of the server: ends of transactions and subtransactions, and changes of relations.
//!
//! `_PG_init` registers listeners of other modules here ([`listen`]), so that this module imports none of
//! them.
#![expect(unsafe_code, reason = "callbacks of PostgreSQL are C functions")]

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::OnceLock;

use pgrx::pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
use pgrx::pg_sys::XactEvent::{
    XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE, XACT_EVENT_PREPARE,
};
use pgrx::prelude::*;

/// Is told how transactions of this session end. None of these functions may fail: the transaction is over,
/// or is about to be.
pub(crate) struct TransactionListener {
    /// No other session sees the rows of the transaction yet. If the commit fails, `aborted` follows.
    pub(crate) before_commit: fn(),
    /// Other sessions see the rows of the transaction, and may have changed them.
    pub(crate) committed: fn(),
    pub(crate) aborted: fn(),
    /// After `PREPARE TRANSACTION`, with the transaction identifier: any session may end the transaction
    /// later.
    pub(crate) prepared: fn(u32),
    /// With the subtransaction and its parent, which takes over what the subtransaction did.
    pub(crate) subtransaction_committed: fn(u32, u32),
    pub(crate) subtransaction_aborted: fn(u32),
}

/// All listeners of this library.
pub(crate) struct Listeners {
    pub(crate) transaction: &'static [TransactionListener],
    /// Called with a relation that some session has changed; `InvalidOid` stands for all relations.
    pub(crate) relation_changed: fn(pg_sys::Oid),
}

static LISTENERS: OnceLock<Listeners> = OnceLock::new();

thread_local! {
    /// Identifier of the transaction that is being prepared: the server no longer has it when `PREPARE` is
    /// done.
    static PREPARING: Cell<u32> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Registers all listeners; called once, by `_PG_init`.
pub(crate) fn listen(listeners: Listeners) {
    // Set once: a process initialises the library once.
    let _already = LISTENERS.set(listeners);
}

/// Makes the server call the listeners from now on until the session ends.
pub(crate) fn register() {
    if REGISTERED.replace(true) {
        return;
    }
    // SAFETY: the functions live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_transaction_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction_end), std::ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(on_relation_changed), pg_sys::Datum::null());
    }
}

/// The innermost subtransaction, of whose end the listeners will be told.
pub(crate) fn current_subtransaction() -> u32 {
    register();
    // SAFETY: inside a transaction, as every function call is.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

fn each(tell: impl Fn(&TransactionListener)) {
    LISTENERS.get().into_iter().flat_map(|listeners| listeners.transaction).for_each(tell);
}

#[pg_guard]
extern "C-unwind" fn on_transaction_end(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    match event {
        XACT_EVENT_PRE_COMMIT => each(|listener| (listener.before_commit)()),
        XACT_EVENT_COMMIT => each(|listener| (listener.committed)()),
        XACT_EVENT_ABORT => each(|listener| (listener.aborted)()),
        XACT_EVENT_PRE_PREPARE => {
            // SAFETY: inside the transaction that is being prepared.
            PREPARING.set(unsafe { pg_sys::GetTopTransactionIdIfAny() }.into_inner());
        }
        XACT_EVENT_PREPARE => each(|listener| (listener.prepared)(PREPARING.get())),
        _ => {}
    }
}

#[pg_guard]
extern "C-unwind" fn on_subtransaction_end(
    event: pg_sys::SubXactEvent::Type,
    subtransaction: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    match event {
        SUBXACT_EVENT_COMMIT_SUB => {
            each(|listener| (listener.subtransaction_committed)(subtransaction, parent));
        }
        SUBXACT_EVENT_ABORT_SUB => each(|listener| (listener.subtransaction_aborted)(subtransaction)),
        _ => {}
    }
}

#[pg_guard]
extern "C-unwind" fn on_relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    if let Some(listeners) = LISTENERS.get() {
        (listeners.relation_changed)(relation);
    }
}
