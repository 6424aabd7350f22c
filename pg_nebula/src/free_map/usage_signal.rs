//! Tells the background worker which pools to count. An allocation only increments a counter and sets the
//! latch.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

use super::shared;
use crate::pg::latch;
use crate::pg::session::database;

/// Registers this process, the background worker, as the one that counts the pools of its database.
pub(crate) fn register_watcher() {
    shared::read(|map| {
        map.header.watcher_latch.store(latch::own_address(), SeqCst);
        map.header.watcher_database.store(database(), SeqCst);
    });
}

/// The background worker has ended: sessions count pools themselves.
pub(crate) fn unregister_watcher() {
    shared::read(|map| map.header.watcher_database.store(0, SeqCst));
}

/// Whether a background worker counts the pools of this database.
pub(crate) fn has_watcher() -> bool {
    shared::read(|map| map.header.watcher_database.load(SeqCst) == database()) == Some(true)
}

/// Wakes the background worker.
pub(super) fn wake_watcher() {
    let latch = shared::read(|map| match map.header.watcher_database.load(SeqCst) {
        0 => 0,
        _ => map.header.watcher_latch.load(SeqCst),
    });
    latch::set(latch.unwrap_or(0));
}

/// The counters of each pool at the last call: requests for a usage check, and releases.
#[derive(Default)]
pub(crate) struct SeenCounters(HashMap<i32, (u64, u64)>);

impl SeenCounters {
    /// Pools whose usage may have risen to a threshold since the last call, and pools whose usage may have
    /// fallen.
    pub(crate) fn changed_pools(&mut self) -> (Vec<i32>, Vec<i32>) {
        let counts = shared::read(|map| {
            let of_slot = |(pool, slot): (i32, &nebula_core::page_table::PoolSlot)| {
                (pool, (slot.usage_checks.load(SeqCst), slot.releases.load(SeqCst)))
            };
            map.slots_of(database()).map(of_slot).collect::<Vec<_>>()
        });
        let (mut risen, mut fallen) = (Vec::new(), Vec::new());
        for (pool, count) in counts.into_iter().flatten() {
            let before = self.0.insert(pool, count).unwrap_or_default();
            if before.0 != count.0 {
                risen.push(pool);
            }
            if before.1 != count.1 {
                fallen.push(pool);
            }
        }
        (risen, fallen)
    }
}
