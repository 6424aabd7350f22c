//! The part of pg_nebula that needs no PostgreSQL, so that plain `cargo test` covers it.
//!
//! Addresses and the map of free ones: [`address`], [`bitmap_page`], [`page_table`], [`pending_addresses`].
//! The job queue's shared hints: [`queue_state`], [`scan_hint`], [`timers`], [`job_event`], [`pending_jobs`].
//! Pure rules: [`backoff`], [`cron`], [`fnv`], [`placement`].

pub mod address;
pub mod backoff;
pub mod bitmap_page;
pub mod cron;
pub mod fnv;
pub mod job_event;
pub mod page_table;
pub mod pending_addresses;
pub mod pending_jobs;
pub mod placement;
pub mod queue_state;
pub mod scan_hint;
pub mod timers;
