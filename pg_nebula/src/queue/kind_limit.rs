//! Kinds that are paused, or of which only so many jobs run at once.

use std::collections::HashSet;

use pgrx::Uuid;

use super::claim_index::ClaimIndex;
use super::claim_rows::{claim_open, claim_restricted};
use super::claimed_job::{ClaimedJob, arm_first_lease};
use super::project_limit::{self, Quota};
use super::request::ClaimRequest;
use super::store::{self, RunningByProject};
use crate::notify::scan;
use crate::pg::error::Result;
use crate::pg::statement::{Row, Statement};

/// The policy of a kind that is paused or limited; other kinds have none, as far as claims are concerned.
pub(super) struct Policy {
    pub(super) kind: String,
    pub(super) paused: bool,
    max_running: Option<i32>,
    max_per_project: Option<i32>,
}

impl Policy {
    fn is_limited(&self) -> bool {
        self.max_running.is_some() || self.max_per_project.is_some()
    }
}

/// The policy of a kind.
pub(super) fn of_kind(kind: &str) -> Result<Option<Policy>> {
    static POLICY: Statement = Statement::new(
        "SELECT kind, paused_at IS NOT NULL, max_running, max_per_project FROM nebula.job_policy
          WHERE kind = $1
            AND (paused_at IS NOT NULL OR max_running IS NOT NULL OR max_per_project IS NOT NULL)",
    );
    POLICY.query_opt(&[kind.into()], |row: &Row<'_>| {
        Ok(Policy {
            kind: row.need(1)?,
            paused: row.need(2)?,
            max_running: row.get(3)?,
            max_per_project: row.get(4)?,
        })
    })
}

/// The kinds that have a policy.
pub(super) fn kinds() -> Result<HashSet<String>> {
    static KINDS: Statement = Statement::new(
        "SELECT kind FROM nebula.job_policy
          WHERE paused_at IS NOT NULL OR max_running IS NOT NULL OR max_per_project IS NOT NULL",
    );
    Ok(KINDS.query(&[], |row| row.need(1))?.into_iter().collect())
}

/// Locks the policies of limited kinds, so that claims of a kind run one at a time: none counts while another
/// adds. All at once and in one order, against deadlocks.
pub(super) fn lock(policies: &[Policy]) -> Result<()> {
    static LOCK: Statement =
        Statement::new("SELECT FROM nebula.job_policy WHERE kind = ANY ($1) ORDER BY kind FOR NO KEY UPDATE");
    let limited = policies.iter().filter(|policy| policy.is_limited());
    let kinds: Vec<String> = limited.map(|policy| policy.kind.clone()).collect();
    if kinds.is_empty() { Ok(()) } else { LOCK.run(&[kinds.into()]) }
}

/// Claims the first jobs of a kind with a limit, or of projects with one, as far as the limits allow.
/// Policies and quotas must be locked.
pub(super) fn claim(
    request: &ClaimRequest<'_>,
    (kind, policy): (&str, Option<&Policy>),
    quotas: &[Quota],
    index: ClaimIndex,
    count: i32,
) -> Result<Vec<ClaimedJob>> {
    let (max, max_per_project) =
        policy.map_or((None, None), |policy| (policy.max_running, policy.max_per_project));
    if max_per_project.is_none() && quotas.is_empty() {
        let count = count.min(capacity(max, &store::count_limited(Some(kind))?));
        return match index {
            _ if count <= 0 => Ok(Vec::new()),
            ClaimIndex::Open => claim_open(request, kind, count, true, scan::begin_claim(kind)),
            ClaimIndex::Restricted => claim_restricted(request, kind, count, true),
        };
    }
    let mut claimed = Vec::new();
    // One job at a time, because each can fill the limit of its project.
    while claimed.len() < usize::try_from(count).unwrap_or(0) {
        let running = store::count_limited(Some(kind))?;
        if capacity(max, &running) <= 0 {
            break;
        }
        let mut full = project_limit::full_projects(quotas)?;
        if let Some(max) = max_per_project {
            full.extend(full_projects(kind, max, &running)?);
        }
        let jobs = store::claim_one_except(request, kind, index == ClaimIndex::Restricted, full)?;
        arm_first_lease(&jobs);
        if jobs.is_empty() {
            break;
        }
        claimed.extend(jobs);
    }
    Ok(claimed)
}

/// How many more jobs may run.
fn capacity(max: Option<i32>, running: &RunningByProject) -> i32 {
    let running: i64 = running.values().sum();
    max.map_or(i32::MAX, |max| i32::try_from(i64::from(max) - running).unwrap_or(0))
}

/// The projects that have as many running jobs of a kind as they may.
fn full_projects(kind: &str, max: i32, running: &RunningByProject) -> Result<Vec<Uuid>> {
    static ALL: Statement = Statement::new(
        "SELECT DISTINCT project_id FROM nebula.job_waiting WHERE kind = $1 AND project_id IS NOT NULL",
    );
    if max == 0 {
        // No project has running jobs, so the count would find none full; all are.
        return ALL.query(&[kind.into()], |row| row.need(1));
    }
    let full = running.iter().filter(|(_, count)| **count >= i64::from(max));
    Ok(full.filter_map(|(project, _)| *project).collect())
}
