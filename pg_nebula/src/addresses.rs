//! Allocations, the rows that say which device holds which address: allocation, release, ranges of groups.
//!
//! The row in nebula.allocation decides; [`crate::free_map`] only says where to look. Rows are inserted and
//! deleted through [`store`], which does that below SQL where it can.
//!
//! | module | holds |
//! |---|---|
//! | `allocate`, `dual`, `bulk`, `release` | the SQL functions of these names |
//! | `peer` | one address for a WireGuard peer |
//! | `request`, `held` | what a caller asks for; what its device holds already |
//! | `fast_path` | the whole allocation for a new device whose request has no options |
//! | `assign`, `group_range`, `wait_backoff` | choosing an address and inserting its row |
//! | `one_project` | the rule that a device holds addresses in one project |
//! | `store` | the rows: each operation in SQL and below SQL |
//! | `static_hosts`, `linked_table`, `usage_threshold` | what else changes with an allocation: configurations, linked tables, notifications |

pub(crate) mod allocate;
mod assign;
pub(crate) mod bulk;
pub(crate) mod dual;
mod fast_path;
mod group_range;
mod held;
pub(crate) mod linked_table;
mod one_project;
pub(crate) mod peer;
pub(crate) mod release;
mod request;
mod static_hosts;
mod store;
pub(crate) mod usage_threshold;
mod wait_backoff;
