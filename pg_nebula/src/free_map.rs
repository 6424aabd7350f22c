//! The free map: hints where a pool has a free address, as PostgreSQL's free space map hints where a table
//! has room.
//!
//! The primary key of nebula.allocation decides who gets an address; the map only saves searching. With
//! preload it lies in shared memory ([`shared`]): two bits per address say whether a row holds it, and
//! whether a transaction in flight has claimed it. Pages of bits are read from the table on first use
//! ([`load`]) and changed at the end of transactions ([`apply`]). Without preload a session searches the
//! table from the point where its last search ended ([`cursor`]).
//!
//! | module | holds |
//! |---|---|
//! | `search`, `claim` | the lowest free address; claims of transactions in flight |
//! | `exhausted`, `lowest_free_range` | answers from the table when the map knows no free address |
//! | `pending`, `apply`, `trigger` | changes of this transaction, and their effect on the map when it ends |
//! | `shared`, `keys`, `load`, `scan` | the map in memory, and reading its pages |
//! | `cursor`, `address_lock` | the search without shared memory |
//! | `dump`, `prewarm` | keeping the map over a restart; reading pages in advance |
//! | `status`, `verify`, `usage_signal` | counters; comparison with the table; wake-up of the background worker |

mod address_lock;
mod apply;
mod claim;
mod cursor;
mod dump;
mod exhausted;
mod keys;
mod load;
mod lowest_free_range;
mod pending;
pub(crate) mod prewarm;
mod row;
mod scan;
mod search;
mod shared;
pub(crate) mod status;
pub(crate) mod trigger;
pub(crate) mod usage_signal;
pub(crate) mod verify;

pub(crate) use address_lock::try_lock_address;
pub(crate) use claim::{claim, claim_inserted, record_inserted, release_claim, skip_bloated};
pub(crate) use cursor::reset_all as reset_cursors;
pub(crate) use exhausted::{count_wait, lowest_without_row};
pub(crate) use lowest_free_range::lowest_free_range;
pub(crate) use pending::LISTENER as TRANSACTION_LISTENER;
pub(crate) use search::AddressSearch;

use nebula_core::pending_addresses::ChangeKind;

use crate::pg::shmem::Region;
use crate::pools::pool::Pool;

/// The shared memory that holds the map.
pub(crate) const REGION: &Region = &shared::REGION;

/// Whether all sessions share the map, so that an address is claimed by one transaction at a time.
pub(crate) fn is_shared() -> bool {
    shared::is_present()
}

/// Another session released addresses. With a shared map that session has changed the map itself.
pub(crate) fn addresses_released() {
    if !shared::is_present() {
        cursor::reset_all();
    }
}

/// Has the background worker count the usage of a pool when this transaction commits.
pub(crate) fn request_usage_check(pool: &Pool) {
    pending::record(pool.id, 0, ChangeKind::UsageCheck);
}
