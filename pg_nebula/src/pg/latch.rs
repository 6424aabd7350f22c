//! Latches, by which a session wakes a background worker.
#![expect(unsafe_code, reason = "latches are C structures in shared memory")]

use std::ptr::with_exposed_provenance_mut;

use pgrx::pg_sys;

/// Address of this process's latch: the same in all processes.
pub(crate) fn own_address() -> usize {
    // SAFETY: a variable of this process, set for good when it joined shared memory.
    unsafe { pg_sys::MyLatch }.expose_provenance()
}

/// Sets the latch at an address that [`own_address`] has returned in some process of this server; nothing for
/// 0.
pub(crate) fn set(address: usize) {
    if address != 0 {
        // SAFETY: latches of processes lie in shared memory and are never freed. If another process has the
        // latch by now, it wakes up for nothing.
        unsafe { pg_sys::SetLatch(with_exposed_provenance_mut(address)) };
    }
}
