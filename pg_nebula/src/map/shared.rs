//! The map's home in shared memory, present only when the extension is in `shared_preload_libraries`.
#![expect(unsafe_code, reason = "shared memory and its lock exist only as C pointers")]

use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use pgrx::prelude::*;

use super::directory::{Directory, Foreign, Header, Slot};
use super::keep;
use super::page::Page;
use crate::{settings, wakeup};

/// Name of the region and of its lock, as `pg_shmem_allocations` and wait events show them.
const NAME: &std::ffi::CStr = c"pg_nebula";
/// Transactions looked after at once.
const FOREIGN: usize = 256;

/// Start of the region; null without preload. Set before sessions are forked, so that all see the same.
static REGION: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static LOCK: AtomicPtr<pg_sys::LWLock> = AtomicPtr::new(null_mut());

/// Where the parts of the region begin, and how long it is.
struct Layout {
    pages: usize,
    buckets: usize,
    foreign_at: usize,
    slots_at: usize,
    buckets_at: usize,
    pages_at: usize,
    bytes: usize,
}

impl Layout {
    /// As many pages as the setting pays for; a slot for each page, because the smallest pool needs one of each.
    fn new(megabytes: usize) -> Self {
        let bytes = megabytes << 20;
        let fixed = size_of::<Header>() + FOREIGN * size_of::<Foreign>() + 4 * 64;
        let each = size_of::<Page>() + size_of::<Slot>() + 2 * size_of::<AtomicU32>();
        let pages = (bytes - fixed) / each;
        let buckets = pages.next_power_of_two();
        let line = |at: usize| at.next_multiple_of(64);
        let foreign_at = line(size_of::<Header>());
        let slots_at = line(foreign_at + FOREIGN * size_of::<Foreign>());
        let buckets_at = line(slots_at + pages * size_of::<Slot>());
        let pages_at = line(buckets_at + buckets * size_of::<AtomicU32>());
        Self {
            pages,
            buckets,
            foreign_at,
            slots_at,
            buckets_at,
            pages_at,
            bytes: pages_at + pages * size_of::<Page>(),
        }
    }

    fn configured() -> Self {
        Self::new(settings::map_memory())
    }
}

/// Asks for the region when the server starts; called once, from `_PG_init`, while libraries are preloaded.
pub(crate) fn request() {
    static mut NEXT_REQUEST: pg_sys::shmem_request_hook_type = None;
    static mut NEXT_STARTUP: pg_sys::shmem_startup_hook_type = None;

    #[pg_guard]
    extern "C-unwind" fn on_request() {
        // SAFETY: the postmaster is a single thread, and calls this where space may be asked for.
        unsafe {
            if let Some(next) = NEXT_REQUEST {
                next();
            }
            pg_sys::RequestAddinShmemSpace(Layout::configured().bytes);
            pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), 1);
            wakeup::shared::request();
        }
    }

    /// The server's first process ends after all others have; code 0: in order.
    #[pg_guard]
    extern "C-unwind" fn on_stop(code: i32, _argument: pg_sys::Datum) {
        let region = REGION.load(Relaxed);
        if code == 0 && !region.is_null() {
            // SAFETY: the region is as long as it was asked for with, and nobody is left to change it.
            keep::save(unsafe { std::slice::from_raw_parts(region, Layout::configured().bytes) });
        }
    }

    #[pg_guard]
    extern "C-unwind" fn on_startup() {
        // SAFETY: the postmaster is a single thread; the region has the size it was asked for with, and nobody looks
        // at it yet, so it may be overwritten. It is new after a crash too.
        unsafe {
            if let Some(next) = NEXT_STARTUP {
                next();
            }
            let mut found = false;
            let bytes = Layout::configured().bytes;
            let region = pg_sys::ShmemInitStruct(NAME.as_ptr(), bytes, &mut found).cast::<u8>();
            if !found {
                region.write_bytes(0, bytes);
                // Anybody's bytes are a map; only those of this cluster are true.
                if keep::restore(std::slice::from_raw_parts_mut(region, bytes)) {
                    (*region.cast::<Header>()).begin();
                } else {
                    region.write_bytes(0, bytes);
                }
                pg_sys::on_shmem_exit(Some(on_stop), pg_sys::Datum::null());
            }
            LOCK.store(&raw mut (*pg_sys::GetNamedLWLockTranche(NAME.as_ptr())).lock, Relaxed);
            REGION.store(region, Relaxed);
            wakeup::shared::start();
        }
    }

    // SAFETY: the postmaster is a single thread while it loads libraries.
    unsafe {
        NEXT_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(on_request);
        NEXT_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}

/// Whether the server is starting and loads its libraries.
pub(crate) fn is_preloading() -> bool {
    // SAFETY: a plain variable of the server.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether the map is shared.
pub(crate) fn present() -> bool {
    !REGION.load(Relaxed).is_null()
}

/// Looks at the map, beside others who look; `None` without preload. What `look` does must not fail.
pub(crate) fn read<T>(look: impl FnOnce(&Directory<'_>) -> T) -> Option<T> {
    with(pg_sys::LWLockMode::LW_SHARED, look)
}

/// Changes which pages and pools are in the map, alone; `None` without preload. What `change` does must not fail.
pub(crate) fn write<T>(change: impl FnOnce(&Directory<'_>) -> T) -> Option<T> {
    with(pg_sys::LWLockMode::LW_EXCLUSIVE, change)
}

fn with<T>(mode: pg_sys::LWLockMode::Type, act: impl FnOnce(&Directory<'_>) -> T) -> Option<T> {
    let region = REGION.load(Relaxed);
    if region.is_null() {
        return None;
    }
    let layout = Layout::configured();
    let lock = LOCK.load(Relaxed);
    // SAFETY: the region is as long as the layout says, was zeroed, is never freed, and holds nothing but atomics, for
    // which zero is a value. The lock outlives the server; were `act` to fail, the abort releases it.
    unsafe {
        let directory = Directory {
            header: &*region.cast(),
            foreign: std::slice::from_raw_parts(region.add(layout.foreign_at).cast(), FOREIGN),
            slots: std::slice::from_raw_parts(region.add(layout.slots_at).cast(), layout.pages),
            buckets: std::slice::from_raw_parts(region.add(layout.buckets_at).cast(), layout.buckets),
            pages: std::slice::from_raw_parts(region.add(layout.pages_at).cast(), layout.pages),
        };
        pg_sys::LWLockAcquire(lock, mode);
        let result = act(&directory);
        pg_sys::LWLockRelease(lock);
        Some(result)
    }
}
