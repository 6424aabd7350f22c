//! The state's home in shared memory, present only when the extension is in `shared_preload_libraries`, and the
//! doorbell of the wake-up process.
#![expect(unsafe_code, reason = "shared memory, its lock and latches exist only as C pointers")]

use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicU32};

use pgrx::prelude::*;

use super::state::State;

/// Name of the region and of its lock, as `pg_shmem_allocations` and wait events show them.
const NAME: &std::ffi::CStr = c"pg_nebula jobs";

/// In shared memory.
struct Region {
    state: State,
    /// Latch of the wake-up process; null: there is none.
    bell: AtomicPtr<pg_sys::Latch>,
    /// What the state says of it, for those who want to know no more.
    served: AtomicU32,
}

/// Null without preload. Set before sessions are forked, so that all see the same.
static REGION: AtomicPtr<Region> = AtomicPtr::new(null_mut());
static LOCK: AtomicPtr<pg_sys::LWLock> = AtomicPtr::new(null_mut());

/// Asks for the region, when the server asks for such wishes.
///
/// # Safety
/// Only from the server's request hook.
pub(crate) unsafe fn request() {
    // SAFETY: as promised by the caller.
    unsafe {
        pg_sys::RequestAddinShmemSpace(size_of::<Region>() + 64);
        pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), 1);
    }
}

/// Makes the region, when the server has its memory.
///
/// # Safety
/// Only from the server's startup hook.
pub(crate) unsafe fn start() {
    let mut found = false;
    // SAFETY: the postmaster is a single thread; the region is as long as a `Region`, suitably aligned, and nobody looks
    // at it yet, so it may be overwritten. It is new after a crash too.
    unsafe {
        let region = pg_sys::ShmemInitStruct(NAME.as_ptr(), size_of::<Region>(), &mut found).cast::<Region>();
        if !found {
            region.write(Region {
                state: State::new(),
                bell: AtomicPtr::new(null_mut()),
                served: AtomicU32::new(0),
            });
        }
        LOCK.store(&raw mut (*pg_sys::GetNamedLWLockTranche(NAME.as_ptr())).lock, Relaxed);
        REGION.store(region, Relaxed);
    }
}

/// Whether there is shared memory.
pub(crate) fn present() -> bool {
    !REGION.load(Relaxed).is_null()
}

/// Whether there is a wake-up process and it looks after this database. Without the lock.
pub(crate) fn serves(database: u32) -> bool {
    let region = REGION.load(Relaxed);
    // SAFETY: the region lives as long as the server.
    !region.is_null() && unsafe { (*region).served.load(Relaxed) } == database
}

/// Does something with the state, alone; `None` without preload. What `act` does must not fail, and be short.
pub(crate) fn with<T>(act: impl FnOnce(&mut State) -> T) -> Option<T> {
    let region = REGION.load(Relaxed);
    if region.is_null() {
        return None;
    }
    let lock = LOCK.load(Relaxed);
    // SAFETY: the region was initialised before any session began and is never freed; the lock makes the reference the
    // only one. It outlives the server; were `act` to fail, the abort releases it.
    unsafe {
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let result = act(&mut (*region).state);
        pg_sys::LWLockRelease(lock);
        Some(result)
    }
}

/// Wakes the wake-up process, if there is one.
pub(crate) fn ring() {
    let region = REGION.load(Relaxed);
    if region.is_null() {
        return;
    }
    // SAFETY: a latch in shared memory lives as long as the server; ringing at one that has a new owner only makes that
    // one look.
    unsafe {
        let bell = (*region).bell.load(SeqCst);
        if !bell.is_null() {
            pg_sys::SetLatch(bell);
        }
    }
}

/// Makes this process the one that is woken, until it ends.
pub(crate) fn serve(database: u32) {
    let region = REGION.load(Relaxed);
    if region.is_null() {
        return;
    }
    // SAFETY: the region lives as long as the server; the latch is this process's own; the callback as the library.
    unsafe {
        (*region).bell.store(pg_sys::MyLatch, SeqCst);
        pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::null());
        (*region).served.store(database, SeqCst);
    }
    with(|state| state.served = database);
}

/// From here on sessions notify by themselves.
#[pg_guard]
extern "C-unwind" fn leave(_code: i32, _argument: pg_sys::Datum) {
    with(|state| state.served = 0);
    let region = REGION.load(Relaxed);
    // SAFETY: registered only when there is a region.
    unsafe {
        (*region).served.store(0, SeqCst);
        (*region).bell.store(null_mut(), SeqCst);
    }
}
