//! Facts about this session and its transaction.
#![expect(unsafe_code, reason = "variables of the session are C variables")]

use std::cell::OnceCell;
use std::ffi::CStr;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::{direct_function_call_as_datum, pg_sys};

/// Identifier of the database that this session is connected to.
pub(crate) fn database() -> u32 {
    // SAFETY: set once when the session starts.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Whether later statements of this transaction see no more than the first: REPEATABLE READ and stricter.
pub(crate) fn snapshot_is_fixed() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Whether a transaction has neither committed nor rolled back; a prepared one counts as running.
pub(crate) fn is_running(transaction: u32) -> bool {
    // SAFETY: any number may be asked about.
    unsafe { pg_sys::TransactionIdIsInProgress(pg_sys::TransactionId::from_inner(transaction)) }
}

/// Whether a process runs this transaction, a top-level one; a prepared transaction has none.
pub(crate) fn has_process(transaction: u32) -> bool {
    // SAFETY: any number may be asked about.
    unsafe { pg_sys::BackendXidGetPid(pg_sys::TransactionId::from_inner(transaction)) != 0 }
}

/// Waits until a transaction of another session, or a subtransaction, has ended; up to `lock_timeout`, and
/// with detection of deadlocks.
pub(crate) fn wait_for(transaction: u32) {
    let transaction = pg_sys::TransactionId::from_inner(transaction);
    // SAFETY: any number may be waited for; the relation and the row are only for error messages.
    unsafe {
        pg_sys::XactLockTableWait(
            transaction,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::XLTW_Oper::XLTW_None,
        );
    }
}

/// How many buffers of tables and indexes this session has read so far.
pub(crate) fn buffers_read() -> i64 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::pgBufferUsage.shared_blks_hit + pg_sys::pgBufferUsage.shared_blks_read }
}

/// `now()` of SQL, in PostgreSQL's microseconds.
pub(crate) fn transaction_start() -> i64 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// `statement_timestamp()` of SQL, in PostgreSQL's microseconds.
pub(crate) fn statement_start() -> i64 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetCurrentStatementStartTimestamp() }
}

/// `clock_timestamp()` of SQL, in PostgreSQL's microseconds.
pub(crate) fn clock() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// `lock_timeout` in milliseconds; 0 means none.
pub(crate) fn lock_timeout() -> u64 {
    // SAFETY: reads a variable of this process.
    u64::try_from(unsafe { pg_sys::LockTimeout }).unwrap_or(0)
}

/// `deadlock_timeout` in milliseconds.
pub(crate) fn deadlock_timeout() -> u64 {
    // SAFETY: reads a variable of this process.
    u64::try_from(unsafe { pg_sys::DeadlockTimeout }).unwrap_or(1000)
}

/// Role that is logged in: `session_user` of SQL.
pub(crate) fn session_user() -> String {
    // SAFETY: a role that is logged in has a name, which is returned as a C string.
    unsafe { CStr::from_ptr(pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), false)) }
        .to_string_lossy()
        .into_owned()
}

/// Address of the client as `inet`: `inet_client_addr()` of SQL, NULL over a local socket. Constant in a
/// session.
pub(crate) fn client_address() -> Option<pg_sys::Datum> {
    thread_local! {
        static ADDRESS: OnceCell<Option<pg_sys::Datum>> = const { OnceCell::new() };
    }
    // SAFETY: a function without arguments; its value is allocated in memory that lives as long as the
    // session.
    let read = || unsafe {
        PgMemoryContexts::TopMemoryContext
            .switch_to(|_| direct_function_call_as_datum(pg_sys::inet_client_addr, &[]))
    };
    ADDRESS.with(|address| *address.get_or_init(read))
}
