//! Kinds of which only so many run at once.

use pgrx::Uuid;

use super::claim::Request;
use super::pick::{self, Claimed, Lane, open_to, open_to_all, pick_sql};
use crate::error::Result;
use crate::plan::{Plan, Row};

/// A kind that is paused or limited.
pub(super) struct Policy {
    pub(super) kind: String,
    pub(super) paused: bool,
    max_running: Option<i32>,
    max_per_project: Option<i32>,
}

/// The policies of those kinds that have one which matters here.
pub(super) fn of(kinds: &[String]) -> Result<Vec<Policy>> {
    static POLICIES: Plan = Plan::new(
        "SELECT kind, paused_at IS NOT NULL, max_running, max_per_project FROM nebula.job_policy
          WHERE kind = ANY ($1) AND (paused_at IS NOT NULL OR max_running IS NOT NULL OR max_per_project IS NOT NULL)",
    );
    POLICIES.rows(&[kinds.to_vec().into()], |row| {
        Ok(Policy {
            kind: row.need(1)?,
            paused: row.need(2)?,
            max_running: row.get(3)?,
            max_per_project: row.get(4)?,
        })
    })
}

/// The first jobs of a limited kind, as many as there is room for.
pub(super) fn pick(request: &Request<'_>, policy: &Policy, lane: Lane, count: i32) -> Result<Vec<Claimed>> {
    // One claim of the kind at a time, so that none counts while another is adding.
    static ALONE: Plan = Plan::new("SELECT FROM nebula.job_policy WHERE kind = $1 FOR NO KEY UPDATE");
    static EVERYBODYS: Plan =
        Plan::new(pick_sql!(concat!(open_to_all!(), " AND (project_id IS NULL OR project_id <> ALL ($6))")));
    static PINNED: Plan = Plan::new(pick_sql!(concat!(
        open_to!("$7", "$8"),
        " AND (project_id IS NULL OR project_id <> ALL ($6))"
    )));
    ALONE.run(&[policy.kind.as_str().into()])?;
    let Some(share) = policy.max_per_project else {
        let count = count.min(room(policy.max_running, &running(policy)?));
        return match lane {
            _ if count <= 0 => Ok(vec![]),
            Lane::Everybodys => pick::everybodys(request, &policy.kind, count, true),
            Lane::Pinned => pick::pinned(request, &policy.kind, count, true),
        };
    };
    let mut claimed = Vec::new();
    while claimed.len() < usize::try_from(count).unwrap_or(0) {
        // Counted anew for each, because each adds one.
        let running = running(policy)?;
        if room(policy.max_running, &running) <= 0 {
            break;
        }
        let full = full(policy, share, &running)?;
        let step = match lane {
            Lane::Everybodys => pick::run(&EVERYBODYS, request, &policy.kind, 1, true, vec![full.into()])?,
            Lane::Pinned => {
                let more = vec![full.into(), request.node.into(), request.capabilities.clone().into()];
                pick::run(&PINNED, request, &policy.kind, 1, true, more)?
            }
        };
        if step.is_empty() {
            break;
        }
        claimed.extend(step);
    }
    Ok(claimed)
}

/// How many run for each project.
type Running = Vec<(Option<Uuid>, i64)>;

fn running(policy: &Policy) -> Result<Running> {
    static COUNT: Plan = Plan::new(
        "SELECT project_id, count(*) FROM nebula.job_running WHERE kind = $1 AND limited GROUP BY project_id",
    );
    COUNT.rows(&[policy.kind.as_str().into()], |row: &Row<'_>| Ok((row.get(1)?, row.need(2)?)))
}

/// How many more may run.
fn room(max: Option<i32>, running: &Running) -> i32 {
    let running: i64 = running.iter().map(|(_, count)| count).sum();
    max.map_or(i32::MAX, |max| i32::try_from(i64::from(max) - running).unwrap_or(0))
}

/// The projects that have as many as they may.
fn full(policy: &Policy, share: i32, running: &Running) -> Result<Vec<Uuid>> {
    static ALL: Plan = Plan::new(
        "SELECT DISTINCT project_id FROM nebula.job_waiting WHERE kind = $1 AND project_id IS NOT NULL",
    );
    if share == 0 {
        // Nobody has any running, so nobody would be found full.
        return ALL.rows(&[policy.kind.as_str().into()], |row| row.need(1));
    }
    let full = running.iter().filter(|(_, count)| *count >= i64::from(share));
    Ok(full.filter_map(|(project, _)| *project).collect())
}
