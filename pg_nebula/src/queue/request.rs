//! A claim: which worker asks for which jobs.

use pgrx::Uuid;
use pgrx::prelude::*;

/// Who claims, and what.
pub(super) struct ClaimRequest<'a> {
    pub(super) worker: &'a str,
    pub(super) kinds: Vec<String>,
    pub(super) max: i32,
    pub(super) lease: Interval,
    pub(super) node: Option<Uuid>,
    pub(super) capabilities: Vec<String>,
}

impl ClaimRequest<'_> {
    /// It can be given no job that is not for everybody.
    pub(super) fn is_anybodys(&self) -> bool {
        self.node.is_none() && self.capabilities.is_empty()
    }
}
