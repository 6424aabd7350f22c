//! Claiming due jobs.

use crate::notify::scan;
use crate::notify::timers;

use super::claim_rows::{self, Claimed, Lane};
use super::kind_limit::{self, Policy};
use super::project_limit::{self, Quota};
use super::request::ClaimRequest;
use super::{claim_index, lease, policy_cache, promote_due};
use crate::pg::datum::timestamp::is_positive;
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::Statement;
use nebula_core::job_event::JobAction;
use nebula_core::scan_hint::ScanStart;
use nebula_core::timers::DueTimers;

use crate::notify;

pub(super) fn claim(request: ClaimRequest<'_>) -> Result<Vec<Claimed>> {
    check(&request)?;
    let mut claimed = match &request.kinds[..] {
        [kind] if request.is_anybodys() && policy_cache::is_unrestricted(kind)? => quickly(&request, kind)?,
        _ => {
            look_after(timers::take_due_timers())?;
            as_owner_by_index(|| thoroughly(request))?
        }
    };
    claimed.sort_by_key(|job| job.key);
    for job in &claimed {
        notify::job_event(job.project, job.key.job, JobAction::Claim)?;
    }
    Ok(claimed)
}

/// Jobs of one kind for any worker, as most claims are.
fn quickly(request: &ClaimRequest<'_>, kind: &str) -> Result<Vec<Claimed>> {
    let (come, mut start) = scan::begin_claim_with_timers(kind);
    if come != DueTimers::default() {
        look_after(come)?;
        // What became claimable on the way may lie further ahead; who begins at the very start sees it anyhow.
        if !start.is_some_and(ScanStart::is_full_scan) {
            start = scan::begin_claim(kind);
        }
    }
    claim_rows::everybodys(request, kind, request.max, false, start)
}

fn thoroughly(mut request: ClaimRequest<'_>) -> Result<Vec<Claimed>> {
    request.kinds.sort_unstable();
    request.kinds.dedup();
    let quotas = if project_limit::are_there()? { project_limit::lock_all()? } else { Vec::new() };
    let mut policies = Vec::new();
    for kind in &request.kinds {
        policies.extend(kind_limit::of_kind(kind)?);
    }
    request.kinds.retain(|kind| !policies.iter().any(|policy| policy.kind == *kind && policy.paused));
    policies.retain(|policy| !policy.paused);
    kind_limit::take_turns(&policies)?;
    let mut claimed = Vec::new();
    match &request.kinds[..] {
        [] => {}
        [kind] if request.is_anybodys() && policies.is_empty() && quotas.is_empty() => {
            claimed = claim_rows::everybodys(&request, kind, request.max, false, scan::begin_claim(kind))?;
        }
        _ => rounds(&request, &policies, &quotas, &mut claimed)?,
    }
    Ok(claimed)
}

/// Jobs of several sources: looks which of them have the first jobs, and claims so many of each. What others are quicker
/// to claim is made up for in another round.
fn rounds(
    request: &ClaimRequest<'_>,
    policies: &[Policy],
    quotas: &[Quota],
    claimed: &mut Vec<Claimed>,
) -> Result<()> {
    let mut kinds = request.kinds.clone();
    while !kinds.is_empty() {
        let room = request.max - i32::try_from(claimed.len()).unwrap_or(i32::MAX);
        let shares = claim_index::shares(request, &kinds, room)?;
        if room <= 0 || shares.is_empty() {
            break;
        }
        for share in shares {
            let policy = policies.iter().find(|policy| policy.kind == share.kind);
            let got = match (policy, share.lane) {
                (policy, lane) if policy.is_some() || !quotas.is_empty() => {
                    kind_limit::pick(request, (&share.kind, policy), quotas, lane, share.count)?
                }
                (_, Lane::Everybodys) => {
                    let start = scan::begin_claim(&share.kind);
                    claim_rows::everybodys(request, &share.kind, share.count, false, start)?
                }
                (_, Lane::Pinned) => claim_rows::pinned(request, &share.kind, share.count, false)?,
            };
            if got.len() < usize::try_from(share.count).unwrap_or(0) {
                // At its limit, or others are at it.
                kinds.retain(|kind| *kind != share.kind);
            }
            claimed.extend(got);
        }
    }
    Ok(())
}

/// What the background processes do when they are there, and every claim on the way when it is time.
fn look_after(now: DueTimers) -> Result<()> {
    static SCHEDULES: Statement = Statement::new("SELECT nebula.run_schedules()");
    if now == DueTimers::default() {
        return Ok(());
    }
    as_owner_by_index(|| {
        if now.lease {
            lease::rescue()?;
        }
        if now.schedule {
            SCHEDULES.run(&[])?;
        }
        if now.job {
            promote_due::release()?;
        }
        Ok(())
    })
}

fn check(request: &ClaimRequest<'_>) -> Result<()> {
    if request.worker.is_empty() {
        return Err(Error::bad_argument(
            "worker is empty",
            "Give the worker a name that tells it apart from others.",
        ));
    }
    if request.kinds.is_empty() {
        return Err(Error::bad_argument("kinds is empty", "Name the kinds of job this worker can do."));
    }
    if request.max < 1 {
        return Err(Error::bad_argument(format!("max is {}", request.max), "Ask for at least one job."));
    }
    if !is_positive(request.lease) {
        return Err(Error::bad_argument("lease must be longer than zero", "For example interval '30 s'."));
    }
    Ok(())
}
