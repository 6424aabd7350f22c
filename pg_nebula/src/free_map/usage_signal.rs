//! Telling the background worker which pools to look at: allocations only count up a number and set its latch.
#![expect(unsafe_code, reason = "latches are C structures in shared memory")]

use std::collections::HashMap;
use std::ptr::with_exposed_provenance_mut;
use std::sync::atomic::Ordering::SeqCst;

use pgrx::pg_sys;

use super::shared;
use crate::pg::session::database;

/// From here on this process, the background worker, looks after the database it is connected to.
pub(crate) fn announce() {
    // SAFETY: a variable of this process, set for good when it joined shared memory.
    let latch = unsafe { pg_sys::MyLatch };
    shared::read(|map| {
        map.header.watcher_latch.store(latch.expose_provenance(), SeqCst);
        map.header.watcher_database.store(database(), SeqCst);
    });
}

/// The background worker is gone: sessions see to alarms themselves.
pub(crate) fn retire() {
    shared::read(|map| map.header.watcher_database.store(0, SeqCst));
}

/// Whether a background worker looks after this database.
pub(crate) fn is_watched() -> bool {
    shared::read(|map| map.header.watcher_database.load(SeqCst) == database()) == Some(true)
}

/// Wakes the background worker.
pub(super) fn wake() {
    let latch = shared::read(|map| match map.header.watcher_database.load(SeqCst) {
        0 => 0,
        _ => map.header.watcher_latch.load(SeqCst),
    });
    if let Some(latch) = latch.filter(|latch| *latch != 0) {
        // SAFETY: the latch of a process slot: in shared memory, at the same place in all processes, and there as long
        // as the server. Another process that has it by now wakes in vain.
        unsafe { pg_sys::SetLatch(with_exposed_provenance_mut(latch)) };
    }
}

/// What the background worker has seen of each pool: how often usage may have crossed a threshold, and how often
/// addresses were given back.
#[derive(Default)]
pub(crate) struct UsageCounts(HashMap<i32, (u64, u64)>);

impl UsageCounts {
    /// Pools whose usage may have gone up to a threshold, and pools whose usage may have gone down, since the last call.
    pub(crate) fn changed(&mut self) -> (Vec<i32>, Vec<i32>) {
        let counts = shared::read(|map| {
            let of_slot = |(pool, slot): (i32, &nebula_core::page_table::PoolSlot)| {
                (pool, (slot.usage_checks.load(SeqCst), slot.releases.load(SeqCst)))
            };
            map.slots_of(database()).map(of_slot).collect::<Vec<_>>()
        });
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for (pool, count) in counts.into_iter().flatten() {
            let before = self.0.insert(pool, count).unwrap_or_default();
            if before.0 != count.0 {
                up.push(pool);
            }
            if before.1 != count.1 {
                down.push(pool);
            }
        }
        (up, down)
    }
}
