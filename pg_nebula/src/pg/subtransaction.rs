//! Subtransactions: work that may have to be undone without ending the transaction.
#![expect(unsafe_code, reason = "subtransactions begin and end with C functions")]

use std::panic::AssertUnwindSafe;

use pgrx::prelude::*;

/// Runs `work` in a subtransaction, which is rolled back unless the result `is_good`, and on errors.
pub(crate) fn commit_if<T>(work: impl FnOnce() -> T, is_good: impl FnOnce(&T) -> bool) -> T {
    // SAFETY: begins and ends a subtransaction inside a transaction, and restores memory context and resource
    // owner as they were before.
    unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        let restore = move || {
            pg_sys::CurrentMemoryContext = memory;
            pg_sys::CurrentResourceOwner = owner;
        };
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let result = PgTryBuilder::new(AssertUnwindSafe(work))
            .catch_others(|error| {
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
                restore();
                error.rethrow()
            })
            .execute();
        if is_good(&result) {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        restore();
        result
    }
}
