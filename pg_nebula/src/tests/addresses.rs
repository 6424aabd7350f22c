//! Tests of pools, allocations, releases, leases, reservations and linked tables.

mod allocate;
mod audit;
mod bulk;
mod check_pool;
mod lease;
mod linked_table;
mod pool;
mod pool_cost;
mod pool_map;
mod quarantine;
mod reservation;
mod resize;
mod usage_threshold;
