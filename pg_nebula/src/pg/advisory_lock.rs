//! Advisory locks of the extension, in a key space that SQL functions cannot reach.
#![expect(unsafe_code, reason = "lock tags are C structures")]

use pgrx::pg_sys;

/// An exclusive lock on a pair of numbers. The end of the transaction releases it at the latest.
pub(crate) struct AdvisoryLock(pg_sys::LOCKTAG);

impl AdvisoryLock {
    /// Waits for the lock.
    pub(crate) fn acquire(first: u32, second: u32) -> Self {
        let tag = pg_sys::LOCKTAG {
            // SAFETY: a variable of this session, set at its start.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: first,
            locktag_field3: second,
            // SQL's advisory locks have 1 or 2 here.
            locktag_field4: 3,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        // SAFETY: the tag is valid.
        unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, false, false) };
        Self(tag)
    }

    /// Releases the lock. Not in `Drop`: after an error the abort of the transaction has released it already.
    pub(crate) fn release(self) {
        // SAFETY: this transaction holds the lock.
        unsafe { pg_sys::LockRelease(&self.0, pg_sys::ExclusiveLock as i32, false) };
    }
}
