//! Who holds which address: allocation, release, leases, ranges of groups, tables that show addresses.
//!
//! The row in nebula.allocation is the truth; [`crate::free_map`] only says where to look.

pub(crate) mod allocate;
pub(crate) mod bulk;
mod group_range;
pub(crate) mod linked_table;
mod release;
mod request;
mod row;
mod static_hosts;
mod take;
pub(crate) mod usage_threshold;
mod wait_backoff;
