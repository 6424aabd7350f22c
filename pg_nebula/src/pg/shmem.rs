//! Regions of shared memory, which exist only when the extension is in `shared_preload_libraries`.
//!
//! A module that needs one declares a static [`Region`]; `_PG_init` passes all of them to [`request`].
#![expect(unsafe_code, reason = "shared memory and its locks exist only as C pointers")]

use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;

use pgrx::prelude::*;

/// A region and the lock that guards it.
pub(crate) struct Region {
    /// Name of region and lock, shown in `pg_shmem_allocations` and as a wait event.
    name: &'static CStr,
    /// Size; called more than once, with the same result.
    bytes: fn() -> usize,
    /// Initialises the region in the postmaster, before any session exists.
    initialize: unsafe fn(*mut u8, usize),
    /// Null without preload. Set before sessions are forked, so all of them have the same address.
    address: AtomicPtr<u8>,
    lock: AtomicPtr<pg_sys::LWLock>,
}

impl Region {
    /// For a `static`. `initialize` gets the address, writable for `bytes()`, and the size.
    pub(crate) const fn new(
        name: &'static CStr,
        bytes: fn() -> usize,
        initialize: unsafe fn(*mut u8, usize),
    ) -> Self {
        Self {
            name,
            bytes,
            initialize,
            address: AtomicPtr::new(null_mut()),
            lock: AtomicPtr::new(null_mut()),
        }
    }

    /// Start of the region; `None` without preload.
    pub(crate) fn address(&self) -> Option<*mut u8> {
        let address = self.address.load(Relaxed);
        (!address.is_null()).then_some(address)
    }

    /// Runs `act` under the lock; `None` without preload. `act` must be short, and must not fail: the lock
    /// would be held until the transaction is aborted.
    pub(crate) fn with<T>(
        &self,
        mode: pg_sys::LWLockMode::Type,
        act: impl FnOnce(*mut u8) -> T,
    ) -> Option<T> {
        let address = self.address()?;
        let lock = self.lock.load(Relaxed);
        // SAFETY: set together with the address; the lock lives as long as the server.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        let result = act(address);
        // SAFETY: acquired above.
        unsafe { pg_sys::LWLockRelease(lock) };
        Some(result)
    }

    /// # Safety
    /// Only from the server's request hook.
    unsafe fn ask_for_space(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            pg_sys::RequestAddinShmemSpace((self.bytes)() + 64);
            pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1);
        }
    }

    /// # Safety
    /// Only from the server's startup hook.
    unsafe fn start(&self) {
        let (mut found, bytes) = (false, (self.bytes)());
        // SAFETY: as the caller promises; the region is as long as requested, and is created again after a
        // crash.
        unsafe {
            let address = pg_sys::ShmemInitStruct(self.name.as_ptr(), bytes, &mut found).cast::<u8>();
            if !found {
                (self.initialize)(address, bytes);
            }
            self.lock.store(&raw mut (*pg_sys::GetNamedLWLockTranche(self.name.as_ptr())).lock, Relaxed);
            self.address.store(address, Relaxed);
        }
    }
}

/// Whether the server is starting and loading `shared_preload_libraries`.
pub(crate) fn is_preloading() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Requests regions at the start of the server; called once, by `_PG_init`, while libraries are preloaded.
pub(crate) fn request(regions: &'static [&'static Region]) {
    static REGIONS: OnceLock<&[&Region]> = OnceLock::new();
    static mut NEXT_REQUEST: pg_sys::shmem_request_hook_type = None;
    static mut NEXT_STARTUP: pg_sys::shmem_startup_hook_type = None;

    #[pg_guard]
    extern "C-unwind" fn on_request() {
        // SAFETY: the postmaster is a single thread, and calls this when space may be requested.
        unsafe {
            if let Some(next) = NEXT_REQUEST {
                next();
            }
            for region in REGIONS.get().into_iter().copied().flatten() {
                region.ask_for_space();
            }
        }
    }

    #[pg_guard]
    extern "C-unwind" fn on_startup() {
        // SAFETY: the postmaster is a single thread, and calls this when shared memory exists.
        unsafe {
            if let Some(next) = NEXT_STARTUP {
                next();
            }
            for region in REGIONS.get().into_iter().copied().flatten() {
                region.start();
            }
        }
    }

    let _already = REGIONS.set(regions);
    // SAFETY: the postmaster is a single thread while it loads libraries.
    unsafe {
        NEXT_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(on_request);
        NEXT_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}
