//! Advisory locks on addresses that a transaction is about to insert; used instead of claims without shared
//! memory.
//!
//! Other sessions skip a locked address. Correctness does not depend on it: the insert decides, and two
//! addresses with the same lock key only cost a wait.

use std::cell::Cell;

use nebula_core::fnv::Fnv1a;

use crate::pg::advisory_lock::{AdvisoryLock, LockSpace};
use crate::pg::session::transaction_start;
use crate::pools::pool::Pool;

/// Advisory locks per transaction at most. They share the server's lock table, which has 64 entries a
/// session. The further addresses of a bulk transaction are not locked, so other sessions wait for its rows
/// instead of skipping them.
const MAX_LOCKS: u32 = 48;

thread_local! {
    /// Start of the transaction that took the last lock, and the number of its locks.
    static LOCKS: Cell<(i64, u32)> = const { Cell::new((0, 0)) };
}

/// Locks an address until the transaction ends; `false` when another transaction has locked it.
pub(crate) fn try_lock_address(pool: &Pool, address: u128) -> bool {
    let transaction = transaction_start();
    let (last, count) = LOCKS.get();
    let count = if last == transaction { count } else { 0 };
    if count >= MAX_LOCKS {
        return true;
    }
    let key = key(pool, address);
    let locked = AdvisoryLock::try_acquire(LockSpace::Address, (key >> 32) as u32, key as u32);
    // Attempts that fail do not count, because they take no entry of the lock table.
    LOCKS.set((transaction, count + u32::from(locked)));
    locked
}

/// The key of an address.
fn key(pool: &Pool, address: u128) -> u64 {
    let hash = Fnv1a::EMPTY.bytes(b"pg_nebula").bytes(pool.project.as_bytes()).bytes(&address.to_be_bytes());
    hash.finish()
}
