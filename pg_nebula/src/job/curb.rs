//! Which kinds are paused or limited, and whether projects are: mostly none, and nothing must be read to see that.

use std::cell::RefCell;
use std::collections::HashSet;

use super::limit::{self, Policy};
use super::quota;
use crate::error::Result;
use crate::map::snapshot_is_fixed;
use crate::table::{self, Stamp};

/// What this session knows.
struct Curbs {
    kinds: HashSet<String>,
    /// Some projects are limited.
    projects: bool,
    policies_read: Stamp,
    quotas_read: Stamp,
}

thread_local! {
    static KNOWN: RefCell<Curbs> = RefCell::new(Curbs {
        kinds: HashSet::new(),
        projects: false,
        policies_read: Stamp::none(),
        quotas_read: Stamp::none(),
    });
}

/// Whether jobs of a kind can be claimed without regard to anything but their order.
pub(super) fn are_off(kind: &str) -> Result<bool> {
    if snapshot_is_fixed() {
        // It may show what was in force before.
        return Ok(limit::of_kind(kind)?.is_none() && !quota::are_there()?);
    }
    table::listen();
    KNOWN.with_borrow_mut(|known| {
        if !known.policies_read.is_current() {
            known.kinds.clear();
            known.policies_read = limit::each(|policy: Policy| {
                known.kinds.insert(policy.kind);
            })?;
        }
        if !known.quotas_read.is_current() {
            known.projects = false;
            known.quotas_read = quota::each(|| known.projects = true)?;
        }
        Ok(!known.projects && !known.kinds.contains(kind))
    })
}
