//! Jobs that a claim has moved to nebula.job_running.

use nebula_core::scan_hint::QueuePosition;
use pgrx::{IntoDatum, Uuid, pg_sys};

use crate::notify;
use crate::notify::scan;
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::row_set::{ResultRow, RowSet};

/// A claimed job.
pub(super) struct ClaimedJob {
    /// Its position before it was claimed.
    pub(super) key: QueuePosition,
    pub(super) kind: String,
    pub(super) payload: Jsonb,
    pub(super) attempt: i32,
    pub(super) lease_until: Timestamp,
    pub(super) project: Option<Uuid>,
    /// Only workers on a certain node or with a certain capability can claim it.
    pub(super) restricted: bool,
}

/// The result of claim_jobs.
pub(super) type JobRows = RowSet<ClaimedJob, 5>;

impl ResultRow<5> for ClaimedJob {
    const RETURNS: &'static str =
        "TABLE (job_id bigint, kind text, payload jsonb, attempt integer, lease_until timestamptz)";
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(ClaimedJob);

    fn into_values(self) -> [Option<pg_sys::Datum>; 5] {
        [
            self.key.job.into_datum(),
            self.kind.into_datum(),
            self.payload.into_datum(),
            self.attempt.into_datum(),
            self.lease_until.into_datum(),
        ]
    }
}

/// Records where jobs of one kind stood that this transaction claimed: a rollback puts them back there, so
/// the scan hint must go back too. Call it before anything else can fail.
pub(super) fn note_claimed(jobs: &[ClaimedJob]) {
    if let Some(first) = jobs.iter().filter(|job| !job.restricted).min_by_key(|job| job.key) {
        notify::note_hidden(&first.kind, first.key, false);
    }
}

/// When the first of these leases ends.
pub(super) fn first_lease(jobs: &[ClaimedJob]) -> Option<i64> {
    jobs.iter().map(|job| job.lease_until.0).min()
}

/// Sets the timer for the first of these leases.
pub(super) fn arm_first_lease(jobs: &[ClaimedJob]) {
    first_lease(jobs).into_iter().for_each(scan::arm_lease);
}
