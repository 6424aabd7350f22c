//! Advisory locks of the extension, in key spaces that the advisory locks of SQL cannot reach: a role that
//! may only connect can take any of those, and would block the extension.
#![expect(unsafe_code, reason = "lock tags are C structures")]

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::pg::error::{Error, Result, required, sql};

/// The subject of a lock. The number is the fourth field of the key, where SQL's advisory locks have 1 or 2.
#[derive(Clone, Copy)]
pub(crate) enum LockSpace {
    /// A pool and a page of it that is read into the free map.
    MapPage = 3,
    /// An address, by a hash, that a transaction is about to insert.
    Address = 4,
    /// The dependencies of jobs, while one is added to a job that exists.
    JobDependencies = 5,
    /// The segments of finished jobs, while they are pruned.
    FinishedJobs = 6,
    /// A pool whose usage is counted.
    PoolUsage = 7,
    /// Names and public keys of devices, by a hash, that a transaction is about to give out.
    DeviceIdentity = 8,
    /// A part of the system whose state is recorded.
    SystemState = 9,
    /// Batches of new peers of a project, whose names and addresses come in any order.
    PeerBatch = 10,
    /// A name and the network that signs in by it, by a hash: one try at a time.
    SignIn = 11,
    /// The segments of events, while they take turns.
    Events = 12,
}

impl LockSpace {
    /// The space of this name, for functions in SQL.
    fn named(name: Option<&str>) -> Result<Self> {
        Ok(match required(name, "p_space")? {
            "finished jobs" => Self::FinishedJobs,
            "pool usage" => Self::PoolUsage,
            "device identity" => Self::DeviceIdentity,
            "system state" => Self::SystemState,
            "peer batch" => Self::PeerBatch,
            "sign in" => Self::SignIn,
            "events" => Self::Events,
            other => {
                return Err(Error::bad_argument(format!("there are no locks \"{other}\""), "See LockSpace."));
            }
        })
    }
}

/// An exclusive lock on a pair of numbers in a space. The end of the transaction releases it at the latest.
pub(crate) struct AdvisoryLock(pg_sys::LOCKTAG);

impl AdvisoryLock {
    fn new(space: LockSpace, first: u32, second: u32) -> Self {
        Self(pg_sys::LOCKTAG {
            // SAFETY: a variable of this session, set at its start.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: first,
            locktag_field3: second,
            locktag_field4: space as u16,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        })
    }

    /// Waits for the lock.
    pub(crate) fn acquire(space: LockSpace, first: u32, second: u32) -> Self {
        let lock = Self::new(space, first, second);
        lock.request(false);
        lock
    }

    /// Takes the lock until the transaction ends; `false` when another transaction has it.
    pub(crate) fn try_acquire(space: LockSpace, first: u32, second: u32) -> bool {
        Self::new(space, first, second).request(true)
    }

    fn request(&self, no_wait: bool) -> bool {
        use pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        // SAFETY: the tag is valid.
        unsafe {
            let (mode, session) = (pg_sys::ExclusiveLock as i32, false);
            pg_sys::LockAcquire(&self.0, mode, session, no_wait) != LOCKACQUIRE_NOT_AVAIL
        }
    }

    /// Releases the lock. Not in `Drop`: after an error the abort of the transaction has released it already.
    pub(crate) fn release(self) {
        // SAFETY: this transaction holds the lock.
        unsafe { pg_sys::LockRelease(&self.0, pg_sys::ExclusiveLock as i32, false) };
    }
}

// For functions in SQL; the lock is kept until the transaction ends.
#[pg_extern]
fn try_lock(p_space: Option<&str>, p_number: default!(Option<i32>, 0)) -> sql::Result<bool> {
    let space = LockSpace::named(p_space)?;
    Ok(AdvisoryLock::try_acquire(space, 0, required(p_number, "p_number")?.cast_unsigned()))
}

#[pg_extern]
fn wait_for_lock(p_space: Option<&str>, p_number: Option<i32>) -> sql::Result<()> {
    let space = LockSpace::named(p_space)?;
    AdvisoryLock::acquire(space, 0, required(p_number, "p_number")?.cast_unsigned());
    Ok(())
}
