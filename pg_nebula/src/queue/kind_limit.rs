//! Kinds of which only so many run at once.

use crate::notify::scan;
use std::collections::HashMap;
use std::ffi::CStr;

use pgrx::Uuid;

use super::claim_rows::{self, Claimed, Lane, open_to, open_to_all, pick_sql};
use super::project_limit::{self, Quota};
use super::request::ClaimRequest;
use super::row::{LIMITED, RUNNING, column};
use crate::direct::{CacheToken, FoundRow, IndexScan, KeyValue, Table};
use crate::pg::error::Result;
use crate::pg::statement::Statement;

/// A kind that is paused or limited.
pub(super) struct Policy {
    pub(super) kind: String,
    pub(super) paused: bool,
    max_running: Option<i32>,
    max_per_project: Option<i32>,
}

impl Policy {
    fn matters(&self) -> bool {
        self.paused || self.limits()
    }

    fn limits(&self) -> bool {
        self.max_running.is_some() || self.max_per_project.is_some()
    }
}

static POLICY: Table =
    Table::new(c"job_policy", &[c"kind", c"paused_at", c"max_running", c"max_per_project"]);

const BY_KIND: &CStr = c"job_policy_pkey";

/// The policy in a row, if it matters here.
fn read(row: &FoundRow<'_>) -> Option<Policy> {
    let policy = Policy {
        kind: row.read(0)?,
        paused: row.get(1).is_some(),
        max_running: row.read(2),
        max_per_project: row.read(3),
    };
    policy.matters().then_some(policy)
}

/// The policy of a kind, if it has one which matters here.
pub(super) fn of_kind(kind: &str) -> Result<Option<Policy>> {
    POLICY.first(&IndexScan::exact(BY_KIND, &[KeyValue::text(kind)]), read)
}

/// All policies that matter here, as of now.
pub(super) fn each(mut see: impl FnMut(Policy)) -> Result<CacheToken> {
    POLICY.each(&IndexScan::exact(BY_KIND, &[]), |row| read(row).into_iter().for_each(&mut see))
}

/// One claim of limited kinds at a time, so that none counts while another is adding. All at once and in one order,
/// against deadlocks.
pub(super) fn take_turns(policies: &[Policy]) -> Result<()> {
    static ALONE: Statement =
        Statement::new("SELECT FROM nebula.job_policy WHERE kind = ANY ($1) ORDER BY kind FOR NO KEY UPDATE");
    let kinds: Vec<String> =
        policies.iter().filter(|policy| policy.limits()).map(|policy| policy.kind.clone()).collect();
    if kinds.is_empty() { Ok(()) } else { ALONE.run(&[kinds.into()]) }
}

/// The first jobs of a kind that is limited, or of projects that are, as many as there is room for.
pub(super) fn pick(
    request: &ClaimRequest<'_>,
    (kind, policy): (&str, Option<&Policy>),
    quotas: &[Quota],
    lane: Lane,
    count: i32,
) -> Result<Vec<Claimed>> {
    static EVERYBODYS: Statement = Statement::new(pick_sql!(concat!(
        open_to_all!(),
        " AND (project_id IS NULL OR project_id <> ALL ($6))"
    )));
    static PINNED: Statement = Statement::new(pick_sql!(concat!(
        open_to!("$7", "$8"),
        " AND (project_id IS NULL OR project_id <> ALL ($6))"
    )));
    let (max, share) = policy.map_or((None, None), |policy| (policy.max_running, policy.max_per_project));
    if share.is_none() && quotas.is_empty() {
        let count = count.min(room(max, &running(kind)?));
        return match lane {
            _ if count <= 0 => Ok(vec![]),
            Lane::Everybodys => claim_rows::everybodys(request, kind, count, true, scan::begin_claim(kind)),
            Lane::Pinned => claim_rows::pinned(request, kind, count, true),
        };
    }
    let mut claimed = Vec::new();
    while claimed.len() < usize::try_from(count).unwrap_or(0) {
        // Counted anew for each, because each adds one.
        let running = running(kind)?;
        if room(max, &running) <= 0 {
            break;
        }
        let mut full = project_limit::full(quotas)?;
        if let Some(share) = share {
            full.extend(have_their_share(kind, share, &running)?);
        }
        let step = match lane {
            Lane::Everybodys => claim_rows::run(&EVERYBODYS, request, kind, 1, true, vec![full.into()])?,
            Lane::Pinned => {
                let more = vec![full.into(), request.node.into(), request.capabilities.clone().into()];
                claim_rows::run(&PINNED, request, kind, 1, true, more)?
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
type Running = HashMap<Option<Uuid>, i64>;

/// As of now: whoever counts has the locks, and a snapshot may be older than those.
fn running(kind: &str) -> Result<Running> {
    let mut running = Running::new();
    RUNNING.each(&IndexScan::exact(LIMITED, &[KeyValue::text(kind)]), |row| {
        *running.entry(row.read(column::PROJECT)).or_default() += 1;
    })?;
    Ok(running)
}

/// How many more may run.
fn room(max: Option<i32>, running: &Running) -> i32 {
    let running: i64 = running.values().sum();
    max.map_or(i32::MAX, |max| i32::try_from(i64::from(max) - running).unwrap_or(0))
}

/// The projects that have as many of a kind as they may.
fn have_their_share(kind: &str, share: i32, running: &Running) -> Result<Vec<Uuid>> {
    static ALL: Statement = Statement::new(
        "SELECT DISTINCT project_id FROM nebula.job_waiting WHERE kind = $1 AND project_id IS NOT NULL",
    );
    if share == 0 {
        // Nobody has any running, so nobody would be found full.
        return ALL.query(&[kind.into()], |row| row.need(1));
    }
    let full = running.iter().filter(|(_, count)| **count >= i64::from(share));
    Ok(full.filter_map(|(project, _)| *project).collect())
}
