//! Claiming due jobs.

use pgrx::Uuid;
use pgrx::prelude::*;

use super::limit::{self, Policy};
use super::pick::{self, Claimed, Lane};
use super::quota::{self, Quota};
use super::{curb, due, lanes, lease};
use crate::error::{Error, Result};
use crate::instant::is_positive;
use crate::plan::{Plan, as_owner_by_index};
use crate::wakeup::clock::Come;
use crate::wakeup::head::Start;
use crate::wakeup::{self, Action};

/// Who claims, and what.
pub(super) struct Request<'a> {
    pub(super) worker: &'a str,
    pub(super) kinds: Vec<String>,
    pub(super) max: i32,
    pub(super) lease: Interval,
    pub(super) node: Option<Uuid>,
    pub(super) capabilities: Vec<String>,
}

impl Request<'_> {
    /// It can be given no job that is not for everybody.
    fn is_anybodys(&self) -> bool {
        self.node.is_none() && self.capabilities.is_empty()
    }
}

pub(super) fn claim(request: Request<'_>) -> Result<Vec<Claimed>> {
    check(&request)?;
    let mut claimed = match &request.kinds[..] {
        [kind] if request.is_anybodys() && curb::are_off(kind)? => quickly(&request, kind)?,
        _ => {
            look_after(wakeup::what_has_come())?;
            as_owner_by_index(|| thoroughly(request))?
        }
    };
    claimed.sort_by_key(|job| job.key);
    for job in &claimed {
        wakeup::job_event(job.project, job.key.job, Action::Claim)?;
    }
    Ok(claimed)
}

/// Jobs of one kind for any worker, as most claims are.
fn quickly(request: &Request<'_>, kind: &str) -> Result<Vec<Claimed>> {
    let (come, mut start) = wakeup::begin_claim_in_time(kind);
    if come != Come::default() {
        look_after(come)?;
        // What became claimable on the way may lie further ahead; who begins at the very start sees it anyhow.
        if !start.is_some_and(Start::is_sweep) {
            start = wakeup::begin_claim(kind);
        }
    }
    pick::everybodys(request, kind, request.max, false, start)
}

fn thoroughly(mut request: Request<'_>) -> Result<Vec<Claimed>> {
    request.kinds.sort_unstable();
    request.kinds.dedup();
    let quotas = if quota::are_there()? { quota::lock_all()? } else { Vec::new() };
    let mut policies = Vec::new();
    for kind in &request.kinds {
        policies.extend(limit::of_kind(kind)?);
    }
    request.kinds.retain(|kind| !policies.iter().any(|policy| policy.kind == *kind && policy.paused));
    policies.retain(|policy| !policy.paused);
    limit::take_turns(&policies)?;
    let mut claimed = Vec::new();
    match &request.kinds[..] {
        [] => {}
        [kind] if request.is_anybodys() && policies.is_empty() && quotas.is_empty() => {
            claimed = pick::everybodys(&request, kind, request.max, false, wakeup::begin_claim(kind))?;
        }
        _ => rounds(&request, &policies, &quotas, &mut claimed)?,
    }
    Ok(claimed)
}

/// Jobs of several sources: looks which of them have the first jobs, and claims so many of each. What others are quicker
/// to claim is made up for in another round.
fn rounds(
    request: &Request<'_>,
    policies: &[Policy],
    quotas: &[Quota],
    claimed: &mut Vec<Claimed>,
) -> Result<()> {
    let mut kinds = request.kinds.clone();
    while !kinds.is_empty() {
        let room = request.max - i32::try_from(claimed.len()).unwrap_or(i32::MAX);
        let shares = lanes::shares(request, &kinds, room)?;
        if room <= 0 || shares.is_empty() {
            break;
        }
        for share in shares {
            let policy = policies.iter().find(|policy| policy.kind == share.kind);
            let got = match (policy, share.lane) {
                (policy, lane) if policy.is_some() || !quotas.is_empty() => {
                    limit::pick(request, (&share.kind, policy), quotas, lane, share.count)?
                }
                (_, Lane::Everybodys) => {
                    let start = wakeup::begin_claim(&share.kind);
                    pick::everybodys(request, &share.kind, share.count, false, start)?
                }
                (_, Lane::Pinned) => pick::pinned(request, &share.kind, share.count, false)?,
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
fn look_after(now: Come) -> Result<()> {
    static SCHEDULES: Plan = Plan::new("SELECT nebula.run_schedules()");
    if now == Come::default() {
        return Ok(());
    }
    as_owner_by_index(|| {
        if now.lease {
            lease::rescue()?;
        }
        if now.tick {
            SCHEDULES.run(&[])?;
        }
        if now.due {
            due::release()?;
        }
        Ok(())
    })
}

fn check(request: &Request<'_>) -> Result<()> {
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
