//! Keys of the shared map.

pub(super) use nebula_core::map_changes::page_and_bit;
use nebula_core::page_table::PoolKey;

use crate::pg::session::database;
use crate::pools::pool::Pool;

/// Key of a pool of this session's database.
pub(super) fn pool_key(pool: &Pool) -> PoolKey {
    PoolKey { database: database(), pool: pool.id }
}
