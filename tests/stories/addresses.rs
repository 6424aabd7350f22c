//! Allocation: concurrent sessions, crashes and restarts, usage thresholds, linked tables.

mod crash;
mod linked_table;
mod model_based;
mod old_snapshot;
mod race;
mod restart;
mod usage_threshold;
