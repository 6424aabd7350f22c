//! Claiming due jobs.

use nebula_core::job_event::JobAction;
use nebula_core::scan_hint::ScanStart;
use nebula_core::timers::DueTimers;
use pgrx::Uuid;
use pgrx::prelude::*;

use super::claim_index::{self, ClaimIndex};
use super::claim_rows::{claim_open, claim_restricted};
use super::claimed_job::{ClaimedJob, JobRows};
use super::kind_limit::{self, Policy};
use super::project_limit::{self, Quota};
use super::request::ClaimRequest;
use super::{complete, policy_cache, promote_due, rescue};
use crate::notify;
use crate::notify::{scan, timers};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::error::{Result, required, sql};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::row_set::RowSet;
use crate::pg::statement::Statement;

#[pg_extern]
fn claim_jobs(
    worker: Option<&str>,
    kinds: Option<Vec<Option<String>>>,
    max: default!(Option<i32>, 1),
    lease: default!(Option<Interval>, "'30 s'"),
    node_id: default!(Option<Uuid>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
) -> sql::Result<JobRows> {
    let request = ClaimRequest::new(worker, kinds, max, lease, node_id, capabilities)?;
    Ok(RowSet(claim(request)?))
}

#[pg_extern]
#[expect(clippy::too_many_arguments, reason = "named arguments of an SQL function")]
fn finish_and_claim(
    job_id: Option<i64>,
    attempt: Option<i32>,
    result: Option<Jsonb>,
    worker: Option<&str>,
    kinds: Option<Vec<Option<String>>>,
    max: default!(Option<i32>, 1),
    lease: default!(Option<Interval>, "'30 s'"),
    node_id: default!(Option<Uuid>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
) -> sql::Result<JobRows> {
    complete::complete(required(job_id, "job_id")?, required(attempt, "attempt")?, result)?;
    let request = ClaimRequest::new(worker, kinds, max, lease, node_id, capabilities)?;
    Ok(RowSet(claim(request)?))
}

fn claim(request: ClaimRequest<'_>) -> Result<Vec<ClaimedJob>> {
    let mut claimed = match &request.kinds[..] {
        [kind] if request.is_open_only() && policy_cache::is_unrestricted(kind)? => {
            fast_path(&request, kind)?
        }
        _ => {
            run_due(timers::take_due_timers())?;
            as_owner_by_index(|| general_path(request))?
        }
    };
    claimed.sort_by_key(|job| job.key);
    for job in &claimed {
        notify::job_event(job.project, job.key.job, JobAction::Claim)?;
    }
    Ok(claimed)
}

/// Most claims: one kind without limits, and only jobs that any worker can claim.
fn fast_path(request: &ClaimRequest<'_>, kind: &str) -> Result<Vec<ClaimedJob>> {
    let (due, mut start) = scan::begin_claim_with_timers(kind);
    if due != DueTimers::default() {
        run_due(due)?;
        // Jobs that became available just now may lie before the start. A full scan finds them anyway.
        if !start.is_some_and(ScanStart::is_full_scan) {
            start = scan::begin_claim(kind);
        }
    }
    claim_open(request, kind, request.max, false, start)
}

/// Any claim.
fn general_path(mut request: ClaimRequest<'_>) -> Result<Vec<ClaimedJob>> {
    request.kinds.sort_unstable();
    request.kinds.dedup();
    let quotas = if project_limit::exist()? { project_limit::lock_all()? } else { Vec::new() };
    let mut policies = Vec::new();
    for kind in &request.kinds {
        policies.extend(kind_limit::of_kind(kind)?);
    }
    request.kinds.retain(|kind| !policies.iter().any(|policy| policy.kind == *kind && policy.paused));
    policies.retain(|policy| !policy.paused);
    kind_limit::lock(&policies)?;
    match &request.kinds[..] {
        [] => Ok(Vec::new()),
        [kind] if request.is_open_only() && policies.is_empty() && quotas.is_empty() => {
            claim_open(&request, kind, request.max, false, scan::begin_claim(kind))
        }
        _ => claim_in_rounds(&request, &policies, &quotas),
    }
}

/// Claims from several indexes: counts where the first jobs lie, and claims that many from each index. Jobs
/// that other sessions claim meanwhile are made up for in another round.
fn claim_in_rounds(
    request: &ClaimRequest<'_>,
    policies: &[Policy],
    quotas: &[Quota],
) -> Result<Vec<ClaimedJob>> {
    let mut claimed = Vec::new();
    let mut kinds = request.kinds.clone();
    while !kinds.is_empty() {
        let missing = request.max - i32::try_from(claimed.len()).unwrap_or(i32::MAX);
        if missing <= 0 {
            break;
        }
        let counts = claim_index::count_first(request, &kinds, missing)?;
        if counts.is_empty() {
            break;
        }
        for first in counts {
            let (kind, count) = (&first.kind[..], first.count);
            let policy = policies.iter().find(|policy| policy.kind == kind);
            let jobs = match first.index {
                index if policy.is_some() || !quotas.is_empty() => {
                    kind_limit::claim(request, (kind, policy), quotas, index, count)?
                }
                ClaimIndex::Open => claim_open(request, kind, count, false, scan::begin_claim(kind))?,
                ClaimIndex::Restricted => claim_restricted(request, kind, count, false)?,
            };
            if jobs.len() < usize::try_from(count).unwrap_or(0) {
                // The kind is at its limit, or other sessions have locked its jobs.
                kinds.retain(|other| other != kind);
            }
            claimed.extend(jobs);
        }
    }
    Ok(claimed)
}

/// Does what is due: rescues jobs, runs schedules, makes jobs ready. The background processes do the same;
/// claims do it so that a server without them works too.
fn run_due(due: DueTimers) -> Result<()> {
    static SCHEDULES: Statement = Statement::new("SELECT nebula.run_schedules()");
    if due == DueTimers::default() {
        return Ok(());
    }
    as_owner_by_index(|| {
        if due.lease {
            rescue::rescue()?;
        }
        if due.schedule {
            SCHEDULES.run(&[])?;
        }
        if due.job {
            promote_due::promote()?;
        }
        Ok(())
    })
}
