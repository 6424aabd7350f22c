//! A map in ordinary memory, for tests.

use super::*;

/// Memory of a map, zeroed as the server gives it.
pub(crate) struct Memory {
    header: Header,
    slots: Vec<PoolSlot>,
    orphans: Vec<OrphanTransaction>,
    buckets: Vec<AtomicU32>,
    pages: Vec<Page>,
}

impl Memory {
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            header: Header::default(),
            slots: (0..pages).map(|_| PoolSlot::default()).collect(),
            orphans: (0..4).map(|_| OrphanTransaction::default()).collect(),
            buckets: (0..pages.next_power_of_two()).map(|_| AtomicU32::new(0)).collect(),
            pages: (0..pages).map(|_| *Page::empty()).collect(),
        }
    }

    pub(crate) fn map(&self) -> PageTable<'_> {
        PageTable {
            header: &self.header,
            slots: &self.slots,
            orphans: &self.orphans,
            buckets: &self.buckets,
            pages: &self.pages,
        }
    }
}
