//! The state of the queue in shared memory, which exists only when the extension is in
//! `shared_preload_libraries`, and the latch of the notifier process.
#![expect(unsafe_code, reason = "shared memory and latches exist only as C pointers")]

use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicU32};

use nebula_core::queue_state::QueueState;
use pgrx::prelude::*;

use crate::pg::shmem::Region;

/// The region of shared memory.
pub(crate) static REGION: Region = Region::new(c"pg_nebula jobs", size_of::<Shared>, initialize);

/// The contents of the region.
struct Shared {
    state: QueueState,
    /// Latch of the notifier process; null when there is none.
    latch: AtomicPtr<pg_sys::Latch>,
    /// Database of the notifier process; 0 when there is none. A copy of that in the state, to be read
    /// without the lock.
    notifier_database: AtomicU32,
}

/// # Safety
/// `region` is writable for `bytes`, and no other process reads it yet.
unsafe fn initialize(region: *mut u8, _bytes: usize) {
    let empty = Shared {
        state: QueueState::new(),
        latch: AtomicPtr::new(null_mut()),
        notifier_database: AtomicU32::new(0),
    };
    // SAFETY: guaranteed by the caller; the server aligns regions to its cache line.
    unsafe { region.cast::<Shared>().write(empty) };
}

fn shared() -> Option<*mut Shared> {
    REGION.address().map(|region| region.cast())
}

/// Whether there is shared memory.
pub(crate) fn present() -> bool {
    shared().is_some()
}

/// Whether the notifier process is connected to this database. Takes no lock.
pub(crate) fn notifier_serves(database: u32) -> bool {
    // SAFETY: the region lives as long as the server; the field is atomic.
    shared().is_some_and(|shared| unsafe { (*shared).notifier_database.load(Relaxed) } == database)
}

/// Runs `act` with the state, under the exclusive lock; `None` without preload. `act` must not raise an
/// error, which would keep the lock, and must be short.
pub(crate) fn with<T>(act: impl FnOnce(&mut QueueState) -> T) -> Option<T> {
    REGION.with(pg_sys::LWLockMode::LW_EXCLUSIVE, |region| {
        // SAFETY: the region was initialised before any session began and is never freed; the exclusive lock
        // makes this the only reference to the state.
        act(unsafe { &mut (*region.cast::<Shared>()).state })
    })
}

/// Wakes the notifier process, if there is one.
pub(crate) fn wake() {
    let Some(shared) = shared() else { return };
    // SAFETY: a latch in shared memory lives as long as the server. If another process owns it by now, that
    // one wakes up without a reason, which is harmless.
    unsafe {
        let latch = (*shared).latch.load(SeqCst);
        if !latch.is_null() {
            pg_sys::SetLatch(latch);
        }
    }
}

/// Makes this process the notifier until it exits.
pub(crate) fn become_notifier(database: u32) {
    let Some(shared) = shared() else { return };
    // SAFETY: the region lives as long as the server, the latch as long as this process, the callback as the
    // library.
    unsafe {
        (*shared).latch.store(pg_sys::MyLatch, SeqCst);
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::null());
        (*shared).notifier_database.store(database, SeqCst);
    }
    with(|state| state.notifier_database = database);
}

/// When the notifier exits: from here on sessions run NOTIFY themselves.
#[pg_guard]
extern "C-unwind" fn on_exit(_code: i32, _argument: pg_sys::Datum) {
    with(|state| state.notifier_database = 0);
    if let Some(shared) = shared() {
        // SAFETY: the region lives as long as the server; the fields are atomic.
        unsafe {
            (*shared).notifier_database.store(0, SeqCst);
            (*shared).latch.store(null_mut(), SeqCst);
        }
    }
}
