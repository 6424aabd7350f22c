//! Keys of the shared map.

use nebula_core::bitmap_page::PAGE_SHIFT;
use nebula_core::page_table::{PageKey, PoolKey};

use crate::pg::session::database;
use crate::pools::pool::Pool;

/// Key of a pool of this session's database.
pub(super) fn pool_key(pool: &Pool) -> PoolKey {
    PoolKey { database: database(), pool: pool.id }
}

/// Page of an address, and its bit in that page.
pub(super) fn page_and_bit(pool: PoolKey, number: u128) -> (PageKey, u16) {
    (PageKey { pool, number: number >> PAGE_SHIFT }, (number & ((1 << PAGE_SHIFT) - 1)) as u16)
}
