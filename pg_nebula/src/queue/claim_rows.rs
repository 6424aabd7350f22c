//! Claims of one kind from one index, with their scan hints and timers.

use nebula_core::scan_hint::{QueuePosition, ScanStart};

use super::claimed_job::{ClaimedJob, arm_first_lease, first_lease};
use super::request::ClaimRequest;
use super::store::{self, OpenClaim};
use crate::notify::scan;
use crate::pg::error::Result;

/// Claims the first jobs that any worker can claim, from where the scan hint said to start; without one, from
/// the first.
pub(super) fn claim_open(
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
    start: Option<ScanStart>,
) -> Result<Vec<ClaimedJob>> {
    let from = start.map_or(QueuePosition::FIRST, |start| start.position);
    let skip_points = start.and_then(|start| start.skip_points);
    let claimed = store::claim_open(&OpenClaim { request, kind, count, limited, from, skip_points })?;
    let jobs = claimed.jobs;
    match start {
        Some(start) => {
            // With fewer jobs than asked for, the scan came to the end of the index.
            let is_full = jobs.len() >= usize::try_from(count).unwrap_or(0);
            let last = jobs.iter().map(|job| job.key).max().filter(|_| is_full);
            let reached = last.map_or(QueuePosition::LAST, QueuePosition::next);
            scan::end_claim(kind, start, reached, &claimed.skip_points, first_lease(&jobs));
        }
        None => arm_first_lease(&jobs),
    }
    Ok(jobs)
}

/// Claims the first jobs that are restricted to certain workers, of which the caller is one.
pub(super) fn claim_restricted(
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
) -> Result<Vec<ClaimedJob>> {
    let jobs = store::claim_restricted(request, kind, count, limited)?;
    arm_first_lease(&jobs);
    Ok(jobs)
}
