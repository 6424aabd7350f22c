//! The shared memory of the map, present only when the extension is in `shared_preload_libraries`.
#![expect(unsafe_code, reason = "shared memory exists only as C pointers")]

use std::mem::size_of;
use std::sync::atomic::AtomicU32;

use nebula_core::bitmap_page::Page;
use nebula_core::page_table::{Header, OrphanTransaction, PageTable, PoolSlot};
use pgrx::prelude::*;

use super::dump;
use crate::pg::settings;
use crate::pg::shmem::Region;

/// Transactions tracked at once because the map is not told of their end.
const ORPHANS: usize = 256;

pub(crate) static REGION: Region = Region::new(c"pg_nebula", || Layout::configured().bytes, initialize);

/// Offsets of the parts of the region, and its size.
struct Layout {
    pages: usize,
    buckets: usize,
    orphans_at: usize,
    slots_at: usize,
    buckets_at: usize,
    pages_at: usize,
    bytes: usize,
}

impl Layout {
    /// As many pages as fit into the configured memory, and one slot for each page: the smallest pool needs
    /// one of both.
    fn new(megabytes: usize) -> Self {
        let bytes = megabytes << 20;
        let fixed = size_of::<Header>() + ORPHANS * size_of::<OrphanTransaction>() + 4 * 64;
        let each = size_of::<Page>() + size_of::<PoolSlot>() + 2 * size_of::<AtomicU32>();
        let pages = (bytes - fixed) / each;
        let buckets = pages.next_power_of_two();
        let line = |at: usize| at.next_multiple_of(64);
        let orphans_at = line(size_of::<Header>());
        let slots_at = line(orphans_at + ORPHANS * size_of::<OrphanTransaction>());
        let buckets_at = line(slots_at + pages * size_of::<PoolSlot>());
        let pages_at = line(buckets_at + buckets * size_of::<AtomicU32>());
        Self {
            pages,
            buckets,
            orphans_at,
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

/// Fills the region from the dump of the last orderly shutdown, or with zeroes: an empty map.
///
/// # Safety
/// `region` is writable for `bytes`, and no other process accesses it.
unsafe fn initialize(region: *mut u8, bytes: usize) {
    /// The first process of the server ends after all others; code 0 is an orderly end.
    #[pg_guard]
    extern "C-unwind" fn dump_at_exit(code: i32, _argument: pg_sys::Datum) {
        if code == 0
            && let Some(region) = REGION.address()
        {
            // SAFETY: the region is as long as it was asked for with, and no other process is left to change
            // it.
            dump::save(unsafe { std::slice::from_raw_parts(region, Layout::configured().bytes) });
        }
    }

    // SAFETY: as promised by the caller; any bytes are a map of atomics.
    unsafe {
        region.write_bytes(0, bytes);
        if dump::restore(std::slice::from_raw_parts_mut(region, bytes)) {
            (*region.cast::<Header>()).clear_watcher();
        } else {
            region.write_bytes(0, bytes);
        }
        pg_sys::on_shmem_exit(Some(dump_at_exit), pg_sys::Datum::null());
    }
}

/// Whether there is a shared map: the extension is preloaded.
pub(crate) fn is_present() -> bool {
    REGION.address().is_some()
}

/// Runs `look` with the map under a shared lock; `None` without preload. `look` must not fail.
pub(crate) fn read<T>(look: impl FnOnce(&PageTable<'_>) -> T) -> Option<T> {
    with(pg_sys::LWLockMode::LW_SHARED, look)
}

/// Runs `change` with the map under an exclusive lock, which adding and evicting pages and pools needs;
/// `None` without preload. `change` must not fail.
pub(crate) fn write<T>(change: impl FnOnce(&PageTable<'_>) -> T) -> Option<T> {
    with(pg_sys::LWLockMode::LW_EXCLUSIVE, change)
}

fn with<T>(mode: pg_sys::LWLockMode::Type, act: impl FnOnce(&PageTable<'_>) -> T) -> Option<T> {
    REGION.with(mode, |region| {
        let layout = Layout::configured();
        // SAFETY: the region is as long as the layout says, was initialised, is never freed, and holds
        // nothing but atomics, for which any bytes are a value.
        let table = unsafe {
            PageTable {
                header: &*region.cast(),
                orphans: std::slice::from_raw_parts(region.add(layout.orphans_at).cast(), ORPHANS),
                slots: std::slice::from_raw_parts(region.add(layout.slots_at).cast(), layout.pages),
                buckets: std::slice::from_raw_parts(region.add(layout.buckets_at).cast(), layout.buckets),
                pages: std::slice::from_raw_parts(region.add(layout.pages_at).cast(), layout.pages),
            }
        };
        act(&table)
    })
}
