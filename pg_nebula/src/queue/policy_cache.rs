//! A cache of policies and quotas in this session, so that claims which none of them limits read nothing.

use std::cell::RefCell;
use std::collections::HashSet;

use super::{kind_limit, project_limit, store};
use crate::direct::CacheToken;
use crate::pg::catalog;
use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pg::session::snapshot_is_fixed;

struct PolicyCache {
    /// Kinds that are paused or limited.
    kinds: HashSet<String>,
    policies_read: CacheToken,
    /// Some projects are limited.
    has_quotas: bool,
    quotas_read: CacheToken,
}

thread_local! {
    static CACHE: RefCell<PolicyCache> = RefCell::new(PolicyCache {
        kinds: HashSet::new(),
        policies_read: CacheToken::none(),
        has_quotas: false,
        quotas_read: CacheToken::none(),
    });
}

/// Whether neither a policy of this kind nor a quota of any project limits claims.
pub(super) fn is_unrestricted(kind: &str) -> Result<bool> {
    if snapshot_is_fixed() {
        // The snapshot may show policies that are no longer in force; they must not be cached for later
        // transactions.
        return as_owner(|| Ok(kind_limit::of_kind(kind)?.is_none() && !project_limit::exist()?));
    }
    catalog::receive_messages();
    CACHE.with_borrow_mut(|cache| {
        // Tokens come before the look, so that a change after it makes them invalid.
        if !cache.policies_read.is_current() {
            let token = store::policy_token()?;
            cache.kinds = as_owner(kind_limit::kinds)?;
            cache.policies_read = token;
        }
        if !cache.quotas_read.is_current() {
            let token = store::quota_token()?;
            cache.has_quotas = as_owner(project_limit::exist)?;
            cache.quotas_read = token;
        }
        Ok(!cache.has_quotas && !cache.kinds.contains(kind))
    })
}
