//! Jobs to be inserted into nebula.job_waiting, with checked values.

use nebula_core::scan_hint::QueuePosition;
use pgrx::Uuid;

use super::position::Position;
use crate::pg::datum::jsonb::Jsonb;

/// One new job.
pub(super) struct NewJob<'a> {
    pub(super) job: i64,
    pub(super) kind: &'a str,
    pub(super) payload: Jsonb,
    pub(super) project: Option<Uuid>,
    pub(super) priority: i32,
    /// In PostgreSQL's microseconds.
    pub(super) run_at: i64,
    pub(super) max_attempts: i32,
    pub(super) on_dead: &'a str,
    pub(super) node: Option<Uuid>,
    pub(super) capability: Option<&'a str>,
    pub(super) unique_key: Option<&'a str>,
    pub(super) ready: bool,
    pub(super) blocked_by: i32,
}

impl NewJob<'_> {
    /// Where it stands in the order of claims.
    pub(super) fn position(&self) -> Position {
        Position {
            kind: self.kind.to_owned(),
            key: QueuePosition { rank: -self.priority, run_at: self.run_at, job: self.job },
            ready: self.ready,
            blocked_by: self.blocked_by,
            restricted: self.node.is_some() || self.capability.is_some(),
        }
    }
}

/// New jobs that differ only in identifier and payload, of which there are equally many.
pub(super) struct NewJobs<'a> {
    pub(super) jobs: Vec<i64>,
    pub(super) payloads: Vec<Jsonb>,
    pub(super) kind: &'a str,
    pub(super) project: Option<Uuid>,
    pub(super) priority: i32,
    /// In PostgreSQL's microseconds.
    pub(super) run_at: i64,
    pub(super) max_attempts: i32,
    pub(super) ready: bool,
}
