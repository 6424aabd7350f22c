//! Which kinds are paused or limited, and whether projects are: mostly none, and nothing must be read to see that.

use crate::pg::catalog;
use std::cell::RefCell;
use std::collections::HashSet;

use super::kind_limit::{self, Policy};
use super::project_limit;
use crate::direct::CacheToken;
use crate::pg::error::Result;
use crate::pg::session::snapshot_is_fixed;

/// What this session knows.
struct Curbs {
    kinds: HashSet<String>,
    /// Some projects are limited.
    projects: bool,
    policies_read: CacheToken,
    quotas_read: CacheToken,
}

thread_local! {
    static KNOWN: RefCell<Curbs> = RefCell::new(Curbs {
        kinds: HashSet::new(),
        projects: false,
        policies_read: CacheToken::none(),
        quotas_read: CacheToken::none(),
    });
}

/// Whether jobs of a kind can be claimed without regard to anything but their order.
pub(super) fn is_unrestricted(kind: &str) -> Result<bool> {
    if snapshot_is_fixed() {
        // It may show what was in force before.
        return Ok(kind_limit::of_kind(kind)?.is_none() && !project_limit::are_there()?);
    }
    catalog::receive_messages();
    KNOWN.with_borrow_mut(|known| {
        if !known.policies_read.is_current() {
            known.kinds.clear();
            known.policies_read = kind_limit::each(|policy: Policy| {
                known.kinds.insert(policy.kind);
            })?;
        }
        if !known.quotas_read.is_current() {
            known.projects = false;
            known.quotas_read = project_limit::each(|| known.projects = true)?;
        }
        Ok(!known.projects && !known.kinds.contains(kind))
    })
}
