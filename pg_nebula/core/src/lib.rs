//! The part of pg_nebula that needs no PostgreSQL, so that plain `cargo test -p nebula-core` covers it.
//!
//! - Addresses and the map of free ones: [`address`], [`bitmap_page`], [`pool_slot`], [`page_table`],
//!   [`pending_addresses`], [`map_changes`].
//! - What sessions share about the job queue: [`queue_state`], [`scan_hint`], [`timers`], [`job_event`],
//!   [`pending_jobs`].
//! - Proof of the caller, and the request that it is for: [`access_token`], [`request`].
//! - Rules without state: [`backoff`], [`cron`], [`fnv`], [`next_state`], [`placement`], [`ranking`], [`scan_range`].
//!
//! Types that live in shared memory are atomics ([`bitmap_page`], [`pool_slot`], [`page_table`]), or plain
//! values that the extension guards with a lock ([`queue_state`]). `cargo test -p nebula-core --features loom
//! model` checks the orders in which the atomics are accessed, with loom.

pub mod access_token;
pub mod address;
pub mod backoff;
pub mod bitmap_page;
pub mod cron;
pub mod fnv;
pub mod job_event;
pub mod map_changes;
pub mod next_state;
pub mod page_table;
pub mod pending_addresses;
pub mod pending_jobs;
pub mod placement;
pub mod pool_slot;
pub mod queue_state;
pub mod ranking;
pub mod request;
pub mod scan_hint;
pub mod scan_range;
pub mod timers;

mod sync;

#[cfg(all(test, feature = "loom"))]
mod model;
#[cfg(test)]
mod test_rng;
